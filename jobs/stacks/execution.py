"""What stacks need from the runs: programs that end when we are told to end, and a place for state."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.run.stop import Stop, Stopped

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.run.job import Run
    from jobs.store import Store
    from terraform.program import StartProgram
    from terraform.stack import Stack

STATES_KEPT = 30
"""States of a stack that stay in the store."""


def open_stack(
    environment: Environment, name: str, start: StartProgram, on_line: Callable[[str], object] = lambda _line: None
) -> Stack:
    """A stack of an environment."""
    from terraform.paths import StackPaths
    from terraform.stack import Stack

    return Stack(StackPaths(repository_root(environment), environment.name, name), environment, start, on_line)


def repository_root(environment: Environment) -> Path:
    """The repository: stacks are beside the environments."""
    return environment.folder.parent.absolute()


def graceful_start(run: Run) -> StartProgram:
    """For what must not be cut off: Terraform is told once to end, as Ctrl-C does, and ends when it has cleaned up."""

    @contextmanager
    def start(argv: Sequence[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
        run.check()
        started = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, **popen)

        def end() -> None:
            # To Terraform alone: its providers must live for it to finish what it began.
            started.send_signal(signal.SIGINT)
            run.log.warning("Terraform was told to end; it finishes what it has begun")

        try:
            with run.on_stop(end):
                yield started
        except Stopped:
            started.send_signal(signal.SIGINT)
            started.communicate()
            raise
        run.check()

    return start


def immediate_start(run: Run | Stop) -> StartProgram:
    """For what only reads: it is ended with the run, or with the command."""

    @contextmanager
    def start(argv: Sequence[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
        yield run.process(argv, **popen)
        run.check()

    return start


def save_state(run: Run, stack: str, state: str, now: datetime | None = None) -> str:
    """Keep a stack's state in the store, sealed as backups are, and the newest 30 of them; the key is returned."""
    from jobs.backup import encrypt

    recipients = run.environment.store.encrypt_to if run.environment.store else ()
    sealed = BytesIO()
    encrypt([state.encode()], sealed, recipients)
    folder = f"{run.environment.name}/state/{stack}/"
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S%fZ")
    key = f"{folder}{moment}.tfstate.zst{'.age' if recipients else ''}"
    run.store.create(key, sealed.getvalue())
    _leave_the_newest(run, folder)
    return key


def _leave_the_newest(run: Run, folder: str) -> None:
    """Old states are no reason to fail: credentials that may not delete leave them to those that may."""
    from jobs.store import StoreError

    store: Store = run.store
    try:
        keys = sorted(entry.key for entry in store.list(folder))
        refused = store.delete(keys[:-STATES_KEPT]) if len(keys) > STATES_KEPT else ()
    except StoreError as error:
        run.log.warning("old states were not removed", why=str(error))
        return
    if refused:
        run.log.warning("old states were not removed", why=refused[0].why, states=len(refused))
