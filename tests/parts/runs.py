"""Helpers for tests of runs: an environment, a store in a folder, jobs, and processes to kill."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from inventories import Environment, Metrics, Repository
from jobs.run import Job, Outcome, Result, Run, RunTimeouts
from jobs.store import DOCUMENT_LIMIT, ListedKey, ObjectLock, Store, StoredObject
from jobs.store.directory import DirectoryStore

QUICK = RunTimeouts(
    work_retries=(0.01, 0.02),
    store_retries=(0.01, 0.02),
    store_pauses=(0.01, 0.02),
    kill_after=0.3,
    abandon_after=0.6,
)
NEVER_ABANDONED = replace(QUICK, abandon_after=600)  # for work that stops, at some time, on a busy machine


def environment(
    to: tuple[str, ...] = (),
    heartbeat: Mapping[str, str] | None = None,
    textfile: Path | None = None,
    more: str = "",
) -> Environment:
    """Return the environment staging, read from a file; `more` is added to the file."""
    beats = "\n".join(f"{name} = {json.dumps(address)}" for name, address in (heartbeat or {}).items())
    with TemporaryDirectory() as folder:
        file = Path(folder, "inventories", "staging.toml")
        file.parent.mkdir()
        file.with_suffix("").write_text("dev_servers = []\n")
        file.write_text(
            STAGING.format(to=json.dumps(to), beats=beats, textfile=textfile or "/tmp/groundcrew.prom") + more
        )
        found = Repository.find(Path(folder)).read("staging")
    return found if textfile else replace(found, metrics=Metrics())


STAGING = """
[environment]
name = "staging"
timezone = "Europe/Berlin"

[store]
url = "file:///var/lib/groundcrew"
encrypt_to = "nobody"
sign_with = "nobody"

[alerts]
to = {to}

[alerts.heartbeat]
{beats}

[metrics]
textfile = "{textfile}"
"""


def store_in(folder: Path) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    return DirectoryStore(f"file://{folder}", folder)


class CountingStore(DirectoryStore):
    """A store that keeps a list of its requests, which a test can read and clear."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.url, Path(store.url.removeprefix("file://")))
        self.requests: list[str] = []

    def get(self, key: str, limit: int = DOCUMENT_LIMIT) -> StoredObject:
        self.requests.append(f"get {key}")
        return super().get(key, limit)

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        self.requests.append(f"list {prefix}")
        return super().list(prefix, start_after, limit)

    def create(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        self.requests.append(f"create {key}")
        return super().create(key, body, lock)

    def replace(self, key: str, body: bytes, version: str) -> str:
        self.requests.append(f"replace {key}")
        return super().replace(key, body, version)

    def put(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        self.requests.append(f"put {key}")
        return super().put(key, body, lock)


def job(work: Callable[[Run], Result], *subjects: str, line: str | None = None, **more: Any) -> Job:
    return Job(
        "backup",
        lambda _environment, _store, _options: subjects or ("shop",),
        work,
        lambda _environment, _subject: line,
        **more,
    )


def lease(seconds: float) -> Callable[[Environment, str], timedelta]:
    return lambda _environment, _subject: timedelta(seconds=seconds)


def clock(at: datetime) -> Callable[[], datetime]:
    """A clock that stands still."""
    return lambda: at


def done(_run: Run) -> Result:
    return Result(Outcome.DONE, "all is well", {"stored_bytes": 12})


@contextmanager
def process(body: Callable[[], int | None]) -> Iterator[int]:
    """Run `body` in the main thread of a child process, and kill the process at the end if it still runs."""
    if (pid := os.fork()) == 0:
        code: int | None = 70
        try:
            code = body()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code or 0)
    _ended.pop(pid, None)  # an earlier process had the same number
    try:
        yield pid
    finally:
        if code_of(pid, wait=False) is None:
            os.kill(pid, signal.SIGKILL)
            code_of(pid)


_ended: dict[int, int] = {}


def code_of(pid: int, *, wait: bool = True) -> int | None:
    """Return the exit code of a process; with wait=False, None while it runs."""
    if pid not in _ended:
        found, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
        if not found:
            return None
        _ended[pid] = os.waitstatus_to_exitcode(status)
    return _ended[pid]
