"""Records of commands that change something without being a job, such as restores, applies and pins."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from inventories import redact
from jobs.author import invoked_command, user_name
from jobs.run.context import RunContext, new_run_id
from jobs.run.documents import utc_now
from jobs.run.job import Outcome
from jobs.run.record import Record, RecordKey, read_record, record_to
from jobs.store import Store

RECORDED_COMMANDS = ("apply", "destroy", "pin", "restore", "rollback", "terraform", "undelete", "unlock", "unpin")
RENEWAL_SECONDS = 60.0
DEAD_AFTER = timedelta(minutes=5)


@dataclass
class RecordedResult:
    """What the record of a command will say about it."""

    sentence: str


@contextmanager
def recorded(
    run: RunContext,
    job: str,
    subject: str,
    sentence: str,
    *,
    lasting: bool = True,
    figures: Mapping[str, int | float | str] = MappingProxyType({}),
) -> Iterator[RecordedResult]:
    """Write the record of a command, also if it fails; a lasting one also when it begins, in case it is killed.

    The command also runs if the store is read-only: a restore needs no write access.
    """
    started, result, ended = utc_now(), RecordedResult(sentence), threading.Event()
    own_id = run.id if run.job == job else new_run_id(started)  # `crew stacks` writes a record for each stack
    begun = Record(
        environment=run.environment.name, job=job, subject=subject, run=own_id, tick=None,
        started=started, ended=started, outcome=Outcome.RUNNING, sentence=redact(sentence),
        figures=dict(figures), about="",
        attempts=1, stopped=None, host=socket.gethostname(), pid=os.getpid(), scheduled=False, took_over=None,
        missed=None, log=(), user=user_name(), command=invoked_command(),
    )  # fmt: skip
    if lasting and _write(run, begun):
        threading.Thread(target=_keep_writing, args=(run.store, begun, ended), name="record", daemon=True).start()
    outcome, why = Outcome.FAILED, "it was interrupted"
    try:
        yield result
        outcome, why = Outcome.DONE, ""
    except Exception as error:
        why = str(error)
        raise
    finally:
        ended.set()
        stopped = run.stop.reason or None
        sentence = redact(f"{result.sentence}: {why}" if why else result.sentence)
        log = tuple(run.tail.lines)
        _write(run, replace(begun, ended=utc_now(), outcome=outcome, sentence=sentence, stopped=stopped, log=log))


def _write(run: RunContext, record: Record) -> bool:
    try:
        run.store.put(record.key, record_to(record))
    except Exception as error:
        run.log.warning("run record not written", key=record.key, why=redact(str(error)))
        return False
    return True


def _keep_writing(store: Store, begun: Record, ended: threading.Event) -> None:
    """Write the record again and again: its modification time shows that the command still runs."""
    while not ended.wait(RENEWAL_SECONDS):
        with suppress(Exception):  # the next time can succeed
            store.put(begun.key, record_to(begun))


def outcome_now(key: RecordKey, now: datetime) -> Outcome:
    """Return the outcome of a run; a command that began and is not renewed any more has died."""
    is_dead = key.outcome is Outcome.RUNNING and now - key.modified > DEAD_AFTER
    return Outcome.DIED if is_dead else key.outcome


def read_record_now(store: Store, key: RecordKey, now: datetime) -> Record | None:
    """Return a record with its outcome_now()."""
    record = read_record(store, key.key)
    if record is None or outcome_now(key, now) is record.outcome:
        return record
    sentence = f"{record.sentence}: on {record.host} (pid {record.pid}) it was killed or crashed"
    return replace(record, outcome=Outcome.DIED, ended=key.modified, sentence=sentence)
