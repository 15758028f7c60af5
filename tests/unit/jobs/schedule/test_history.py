"""When the slots of a server ran last, according to the records in a store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from inventories import Environment
from jobs.run.record import tick_key
from jobs.schedule.history import last_complete_runs, last_runs
from jobs.schedule.slots import Slot
from tests.parts.runs import store_in

BACKUP = Slot("backup", "main", "0 */6 * * *")
SUNDAY, MONDAY = datetime(2026, 11, 22, 23, tzinfo=UTC), datetime(2026, 11, 23, 5, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def test_one_database_of_a_server_does_not_complete_a_run(production: Environment, tmp_path: Path) -> None:
    store = store_in(tmp_path / "store")
    for subject, tick in (("main.a", SUNDAY), ("main.b", SUNDAY), ("main.a", MONDAY), ("mainly.c", SUNDAY)):
        store.put(tick_key("production", "backup", subject, tick), b"")
    assert last_runs(store, "production", [BACKUP], NOW) == {BACKUP: MONDAY}
    assert last_complete_runs(store, production, [BACKUP], NOW) == {BACKUP: SUNDAY}
    store.put(tick_key("production", "backup", "main.b", MONDAY), b"")
    assert last_complete_runs(store, production, [BACKUP], NOW) == {BACKUP: MONDAY}
