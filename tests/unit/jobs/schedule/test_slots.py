"""The slots and timers of an environment file."""

from __future__ import annotations

from inventories import Environment
from jobs.registry import JOBS
from jobs.schedule.slots import Slot, slots, timers


def test_every_cron_line_of_the_file_is_a_slot(production: Environment) -> None:
    assert slots(production) == (
        Slot("backup", "main", "0 */6 * * *"),
        Slot("backup", "shop", "0 2 * * *"),
        Slot("verify", "main", "0 5 * * 0"),
        Slot("retention", "main", "30 6 * * *"),
        Slot("retention", "shop", "30 6 * * *"),
        Slot("drift", "", "0 * * * *"),
        Slot("status", "", "*/30 * * * *"),
    )


def test_a_slot_owns_the_runs_of_its_database_its_server_or_its_whole_job() -> None:
    server, whole = Slot("backup", "main", "0 2 * * *"), Slot("drift", "", "0 * * * *")
    assert [server.owns(each) for each in ("main", "main.shop", "mainly", "shop")] == [True, True, False, False]
    assert whole.owns("network")


def test_slots_with_the_same_job_and_line_share_a_timer(production: Environment) -> None:
    commands = [(timer.unit, " ".join(timer.command)) for timer in timers("production", slots(production))]
    assert commands == [
        ("groundcrew-production-backup-main", "run backup production --only main --scheduled"),
        ("groundcrew-production-backup-shop", "run backup production --only shop --scheduled"),
        ("groundcrew-production-drift", "run drift production --scheduled"),
        ("groundcrew-production-retention", "run retention production --only main --only shop --scheduled"),
        ("groundcrew-production-status", "run status production --scheduled"),
        ("groundcrew-production-verify", "run verify production --only main --scheduled"),
    ]


def test_every_slot_names_a_registered_job(production: Environment, staging: Environment) -> None:
    jobs = {slot.job for slot in (*slots(production), *slots(staging))}
    assert jobs == {"backup", "verify", "retention", "drift", "hosts", "status", "refresh"}
    assert jobs <= set(JOBS)
