"""A simulated week of the daemon with crashes, outages and clock changes leaves exactly the expected records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inventories import Environment, Repository
from jobs.run import Record, records
from jobs.run.ticks import Gap
from jobs.schedule import daemon, environment_schedule
from jobs.schedule.environment_schedule import EnvironmentSchedule
from jobs.schedule.history import last_runs
from jobs.schedule.slots import slots
from jobs.store.directory import DirectoryStore
from tests.parts.runs import store_in
from tests.unit.jobs.schedule.simulated import Crashed, Simulation, use_simulated_clock

FILE = """
[environment]
name = "try"
timezone = "Europe/Berlin"
[store]
url = "file:///nowhere"
encrypt_to = "nobody"
sign_with = "nobody"
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
backup = "30 2 * * *"
retention = "0 * * * *"
[databases.crm]
url = "postgresql://nobody@127.0.0.1:1/crm"
backup = "30 2 * * *"
"""
MONDAY = datetime(2026, 3, 23, tzinfo=UTC)  # on the Sunday of this week, Berlin has no 02:30


def at(day: str, time: str = "00:00") -> datetime:
    hours, minutes = time.split(":")
    number = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "end"].index(day)
    return MONDAY + timedelta(days=number, hours=int(hours), minutes=int(minutes))


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    (tmp_path / "try.toml").write_text(FILE)
    return Repository.find(tmp_path).read("try")


@pytest.fixture
def disk(tmp_path: Path) -> DirectoryStore:
    return store_in(tmp_path / "store")


def hours(first: datetime, last: datetime) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += timedelta(hours=1)


def by_tick(disk: DirectoryStore, job: str, subject: str) -> dict[datetime | None, Record]:
    return {record.tick: record for record in records(disk, "try", job, subject)}


def test_a_week_with_faults(environment: Environment, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    week = Simulation(
        environment,
        disk,
        now=at("Mon", "00:10"),
        end=at("end", "00:10"),
        unreachable=[(at("Tue", "10:30"), at("Tue", "11:30"))],
        crash=at("Wed", "14:20"),
        jumps={at("Thu", "09:10"): timedelta(hours=3), at("Thu", "12:40"): timedelta(hours=-3)},
        takes={at("Fri", "12:00"): timedelta(hours=2, minutes=30)},
    )
    use_simulated_clock(week, monkeypatch)
    with suppress(Crashed):
        week.run()
    assert week.now == at("Wed", "14:20")
    week = replace(week, now=at("Wed", "17:40"), crash=None)
    use_simulated_clock(week, monkeypatch)
    week.run()

    nightly = [at(day, "01:30") for day in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat")]
    for database in ("shop", "crm"):
        found = by_tick(disk, "backup", database)
        assert sorted(found) == [*nightly, at("Sun", "01:00")]
        assert [record.missed for record in found.values()] == [None] * 7

    never = {at("Wed", "15:00"), at("Wed", "16:00"), at("Fri", "13:00")}
    found = by_tick(disk, "retention", "shop")
    assert sorted(found) == [tick for tick in hours(at("Mon", "01:00"), at("end")) if tick not in never]
    assert {tick: record.missed for tick, record in found.items() if record.missed} == {
        at("Wed", "17:00"): Gap(2, at("Wed", "15:00"), at("Wed", "16:00")),
        at("Fri", "14:00"): Gap(1, at("Fri", "13:00"), at("Fri", "13:00")),
    }
    assert found[at("Tue", "11:00")].started > at("Tue", "11:30")
    noon = [record for record in records(disk, "try", "retention", "shop") if record.tick == at("Thu", "12:00")]
    assert [record.missed and record.missed.ticks for record in noon] == [2, None], "again by the right clock"
    assert {record.attempts for record in found.values()} == {1}


def test_databases_with_the_same_line_start_in_one_process(
    environment: Environment, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Simulation(environment, disk, now=at("Mon", "01:20"), end=at("Mon", "01:40"))
    use_simulated_clock(night, monkeypatch)
    night.run()
    assert night.started == [
        (at("Mon", "01:30"), ("run", "backup", "try", "--only", "crm", "--only", "shop", "--scheduled"))
    ]


def test_a_tick_without_a_record_is_retried_after_pauses_that_double(
    environment: Environment, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Simulation(
        environment, disk, now=at("Mon", "01:20"), end=at("Mon", "05:20"), unreachable=[(at("Mon"), at("Tue"))]
    )
    use_simulated_clock(night, monkeypatch)
    night.run()
    starts = [begun for begun, arguments in night.started if "backup" in arguments]
    assert starts == [at("Mon", time) for time in ("01:30", "01:41", "02:02", "02:43", "04:04")]


@pytest.fixture
def server(tmp_path: Path) -> Environment:
    """An environment with a server, whose databases are backed up at 02:00 UTC."""
    section = '[servers.main]\nurl = "postgresql://nobody@127.0.0.1:1/postgres"\nbackup = "0 3 * * *"\n'
    (tmp_path / "try.toml").write_text(FILE.partition("[databases")[0] + section)
    return Repository.find(tmp_path).read("try")


@pytest.mark.parametrize("restart", [False, True])
def test_a_killed_run_of_a_server_is_started_again_for_the_databases_that_are_left(
    server: Environment, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch, *, restart: bool
) -> None:
    killed, end = at("Tue", "02:00"), at("Wed", "01:30")
    night = Simulation(
        server,
        disk,
        now=at("Mon", "01:30"),
        end=end,
        kills=[killed],
        crash=at("Tue", "02:05") if restart else None,
        databases=["main.a", "main.b"],
    )
    use_simulated_clock(night, monkeypatch)
    with suppress(Crashed):
        night.run()
    if restart:
        night.crash = None
        night.run()
    again = at("Tue", "02:05" if restart else "02:11")
    assert [begun for begun, _ in night.started] == [at("Mon", "02:00"), killed, again]
    for database in ("main.a", "main.b"):
        ticks = by_tick(disk, "backup", database)
        assert sorted(filter(None, ticks)) == [at("Mon", "02:00"), at("Tue", "02:00")]
        assert {record.attempts for record in ticks.values()} == {1}


def test_a_database_that_was_dropped_causes_one_more_run_at_most(
    server: Environment, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Simulation(server, disk, now=at("Mon", "01:30"), end=at("Mon", "05:00"), databases=["main.a", "main.b"])
    use_simulated_clock(night, monkeypatch)
    night.run()
    night.databases, night.started, night.end = ["main.a"], [], at("Tue", "05:00")
    night.run()
    assert [begun for begun, _ in night.started] == [at("Tue", "02:00")]
    night.started, night.end = [], at("Wed", "01:00")
    night.run()
    assert [begun for begun, _ in night.started] == [at("Tue", "05:00")]


def test_an_unexpected_error_of_the_store_stops_no_slot_for_good(
    environment: Environment, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    morning = Simulation(environment, disk, now=at("Mon", "02:10"), end=at("Mon", "05:10"))
    use_simulated_clock(morning, monkeypatch)

    def failing_last_runs(*arguments: Any) -> Any:
        if at("Mon", "03:00") < morning.now < at("Mon", "03:05"):
            raise ValueError("unexpected")
        return last_runs(*arguments)

    monkeypatch.setattr(daemon, "last_runs", failing_last_runs)
    morning.run()
    assert sorted(by_tick(disk, "retention", "shop")) == [at("Mon", time) for time in ("03:00", "04:00", "05:00")]


def test_a_slot_that_never_ran_waits_for_its_next_tick(
    environment: Environment, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    morning = Simulation(environment, disk, now=at("Mon", "03:10"), end=at("Mon", "03:50"))
    use_simulated_clock(morning, monkeypatch)
    morning.run()
    assert morning.started == []


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York"])
def test_each_tick_runs_once_when_clocks_change(
    tmp_path: Path, disk: DirectoryStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "try.toml").write_text(FILE.replace("Europe/Berlin", name))
    environment = Repository.find(tmp_path).read("try")
    changes = {"Europe/Berlin": ((3, 28), (10, 30)), "America/New_York": ((3, 13), (11, 6))}[name]
    for month, day in changes:
        begin = datetime(2027, month, day, 12, 10, tzinfo=UTC)
        days = Simulation(environment, disk, now=begin, end=begin + timedelta(days=2))
        use_simulated_clock(days, monkeypatch)
        days.run()
        ticks = [tick for tick in by_tick(disk, "retention", "shop") if tick and tick > begin]
        assert sorted(ticks) == list(hours(begin + timedelta(minutes=50), begin + timedelta(hours=47, minutes=50)))
        nights = [tick for tick in by_tick(disk, "backup", "shop") if tick and tick > begin]
        days_after = [(begin + timedelta(days=n)).date() for n in (1, 2)]
        assert [night.astimezone(environment.timezone).date() for night in sorted(nights)] == days_after
        assert all(record.missed is None or record.missed.ticks > 100 for record in records(disk, "try"))


def test_nothing_is_computed_until_the_next_scheduled_time(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = EnvironmentSchedule(environment, slots(environment), since=at("Mon", "00:10"))
    asked: list[datetime] = []
    first = environment_schedule.due
    monkeypatch.setattr(environment_schedule, "due", lambda *args: asked.append(args[-1]) or first(*args))
    for minute in range(10, 60):
        assert schedule.launches(at("Mon", f"00:{minute}")) == []
    assert len(asked) == len(schedule.slots)
    (launch,) = schedule.launches(at("Mon", "01:00"))
    assert launch.job == "retention"
    schedule.mark_started(launch)
    assert schedule.launches(at("Mon", "01:01")) == []
    schedule.mark_ended(launch, {}, at("Mon", "01:02"))
    assert schedule.launches(at("Mon", "01:11")) == []
    assert schedule.launches(at("Mon", "01:12")) == [launch], "after the pause before its retry"
