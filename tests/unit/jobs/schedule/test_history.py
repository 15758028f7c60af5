"""When the slots of a server ran last, according to the locks."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from jobs.run.latest import SubjectRuns
from jobs.run.lease import Holder
from jobs.schedule.history import last_complete_runs, last_runs
from jobs.schedule.slots import Slot

BACKUP = Slot("backup", "main", "0 */6 * * *")
SUNDAY, MONDAY = datetime(2026, 11, 22, 23, tzinfo=UTC), datetime(2026, 11, 23, 5, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def ran_at(*ticks: datetime) -> Holder:
    return Holder("r1", "here", 1, NOW, 60, released=NOW, runs=SubjectRuns(ticks=ticks))


def test_one_database_of_a_server_does_not_complete_a_run() -> None:
    holders = {
        "backup/main.a": ran_at(MONDAY, SUNDAY),
        "backup/main.b": ran_at(SUNDAY),
        "backup/mainly.c": ran_at(SUNDAY),
        "verify/main.b": ran_at(MONDAY),
        "backup/main.running": Holder("r2", "here", 2, NOW, 60),
    }
    assert last_runs(holders, [BACKUP], NOW) == {BACKUP: MONDAY}
    assert last_complete_runs(holders, [BACKUP], BERLIN, NOW) == {BACKUP: SUNDAY}
    complete = holders | {"backup/main.b": ran_at(MONDAY, SUNDAY)}
    assert last_complete_runs(complete, [BACKUP], BERLIN, NOW) == {BACKUP: MONDAY}
