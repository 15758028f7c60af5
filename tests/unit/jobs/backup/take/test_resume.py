"""A backup goes on after an upload broke off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

import jobs.log
from jobs.backup.concurrent import Cancellation
from jobs.backup.errors import BackupError
from jobs.backup.sets.manifest import PartKind
from jobs.backup.take.parts import PlannedPart
from jobs.backup.take.resume import upload_again
from jobs.backup.take.take import PartGroup, dumped_together
from jobs.run.job import Run, Transient
from jobs.store import Denied, Expired, OutOfReach

AWAY = OutOfReach("s3://acme: no connection")


class WaitingRun:
    """A run that notes how often its work had failed when it waited for the store."""

    def __init__(self) -> None:
        self.waits: list[int] = []
        self.log = jobs.log.get()

    def check(self) -> None:
        pass

    def wait_for_store(self, failed: int, check: Callable[[], None]) -> None:
        check()
        self.waits.append(failed)


class BreakingGroup(PartGroup):
    """Parts whose upload always breaks off."""

    tries = 0

    def _dump(self, first: int = 0) -> Mapping[str, Any]:
        self.tries += 1
        raise OutOfReach(f"no object {first}")


@pytest.fixture
def run() -> WaitingRun:
    return WaitingRun()


def failing(*errors: Exception) -> tuple[list[int], Callable[[int], str]]:
    """Return an upload that fails with these errors, and the first numbers that it is called with."""
    firsts: list[int] = []

    def upload(first: int) -> str:
        firsts.append(first)
        if len(firsts) <= len(errors):
            raise errors[len(firsts) - 1]
        return "stored"

    return firsts, upload


def test_an_upload_is_repeated_with_numbers_of_its_own(run: WaitingRun) -> None:
    firsts, upload = failing(AWAY, Expired("expired"))
    assert upload_again(cast("Run", run), ["rest"], upload) == ("stored", (str(AWAY), "expired"))
    assert firsts == [0, 10_000, 20_000]
    assert run.waits == [1, 2]


def test_an_upload_that_always_breaks_off_fails_the_backup_for_good(run: WaitingRun) -> None:
    firsts, upload = failing(*[AWAY] * 9)
    with pytest.raises(BackupError, match="no connection; the upload of defs and rest broke off 4 times") as failed:
        upload_again(cast("Run", run), ["defs", "rest"], upload)
    assert len(firsts) == 4
    assert not failed.value.retryable, "else the run would dump everything again, four times"


@pytest.mark.parametrize("error", [Denied("no permission"), Transient("the snapshot is gone")])
def test_other_errors_end_the_try_at_once(run: WaitingRun, error: Exception) -> None:
    firsts, upload = failing(error)
    with pytest.raises(type(error)):
        upload_again(cast("Run", run), ["rest"], upload)
    assert firsts == [0]


def test_the_failure_of_another_part_ends_the_repetition(run: WaitingRun) -> None:
    def check() -> None:
        raise Transient("another part has failed")

    firsts, upload = failing(AWAY)
    with pytest.raises(Transient):
        upload_again(cast("Run", run), ["rest"], upload, check)
    assert firsts == [0]


def test_a_table_that_nothing_locks_is_not_dumped_again(run: WaitingRun) -> None:
    """Without locks of the snapshot's connection, somebody can truncate a table before another pg_dump locks it."""
    for locks_tables, tries in ((True, 4), (False, 1)):
        plan = cast("Any", SimpleNamespace(snapshot=SimpleNamespace(locks_tables=locks_tables)))
        stream = cast("Any", SimpleNamespace(run=run, cancellation=Cancellation()))
        group = BreakingGroup([], stream, plan, timedelta(seconds=1))
        with pytest.raises(BackupError if locks_tables else OutOfReach):
            group.dump()
        assert group.tries == tries


def test_the_definitions_are_dumped_with_the_rest() -> None:
    defs, table = PlannedPart("defs", PartKind.DEFINITIONS), PlannedPart("data-1", PartKind.TABLE)
    rest, roles = PlannedPart("rest", PartKind.REST), PlannedPart("roles", PartKind.ROLES)
    assert dumped_together([defs, table, rest, roles]) == [(defs, rest), (table,), (roles,)]
