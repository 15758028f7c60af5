"""Databases that are gone from the file or the server: shown for a week, silenced by `exclude`, then forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import Environment, Repository
from jobs.run import Outcome
from jobs.run.latest import RunSummary, SubjectRuns
from jobs.run.lease import Holder
from jobs.status.gone import Gone, gone_subjects
from jobs.status.health import HealthState, gone_health

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
DUE = datetime(2026, 11, 21, 2, tzinfo=UTC)
FILE = """
[environment]
name = "try"
[store]
url = "file:///store"
encrypt_to = "nobody"
sign_with = "nobody"
[servers.main]
url = "postgresql://me@db/postgres"
exclude = ["scratch*"]
backup = "0 2 * * *"
[copies.offsite]
url = "file:///copy"
at = "0 2 * * *"
[databases.shop]
url = "postgresql://me@db/shop"
backup = "0 2 * * *"
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    (tmp_path / "try").write_text("servers = []\n")
    (tmp_path / "try.toml").write_text(FILE)
    return Repository.find(tmp_path).read("try")


def run_at(at: datetime, outcome: Outcome = Outcome.DONE, sentence: str = "done") -> RunSummary:
    return RunSummary("r1", at, at + timedelta(minutes=1), outcome, sentence, tick=at)


NEW, OLD = DUE, DUE - timedelta(days=1)
HELD = Holder(run="r2", host="b", pid=7, since=DUE, seconds=60, renewed=DUE)


def found(
    environment: Environment,
    last: Mapping[str, datetime | RunSummary],
    locks: Mapping[str, Holder] | None = None,
) -> dict[str, Gone]:
    runs = {f"backup/{subject}": at if isinstance(at, RunSummary) else run_at(at) for subject, at in last.items()}
    due = dict.fromkeys(runs, DUE)
    return gone_subjects(environment, runs, locks or {}, due, has_subject=lambda _job, name: name != "crm", now=NOW)


@pytest.mark.parametrize(
    ("last", "gone"),
    [
        ({"shop": NEW, "main.a": NEW, "main.b": NEW}, {}),
        ({"shop": OLD, "main.a": OLD, "main.b": OLD}, {}),  # nothing ran: all are overdue
        ({"shop": OLD, "main.a": NEW}, {}),  # not a database of that server
        ({"crm": NEW}, {"backup/crm": Gone.FROM_FILE}),
        ({"main.a": NEW, "main.b": OLD}, {"backup/main.b": Gone.FROM_SERVER}),
        ({"offsite.a": NEW, "offsite.b": OLD}, {"backup/offsite.b": Gone.FROM_STORE}),
        ({"offsite.a": NEW, "offsite": OLD}, {"backup/offsite": Gone.SILENCED}),
        ({"main.a": NEW, "main.scratch1": NEW}, {"backup/main.scratch1": Gone.SILENCED}),
        ({"main.a": NEW, "main": OLD}, {"backup/main": Gone.SILENCED}),
        ({"main.a": OLD, "main": NEW}, {}),
    ],
)
def test_what_is_gone(environment: Environment, last: Mapping[str, datetime], gone: Mapping[str, Gone]) -> None:
    assert found(environment, last) == gone


def test_a_run_that_was_killed_before_its_turn_is_no_sign(environment: Environment) -> None:
    assert found(environment, {"main.a": NEW, "main.b": OLD}, {"backup/main.a": HELD}) == {}


@pytest.mark.parametrize(("since", "gone"), [(DUE, {}), (OLD, {"backup/main.b": Gone.FROM_SERVER})])
def test_a_run_that_was_killed_at_the_scheduled_time_is_not_gone(
    environment: Environment, since: datetime, gone: Mapping[str, Gone]
) -> None:
    """One that was killed before, and that no run followed, is."""
    last = {"main.a": NEW, "main.b": OLD - timedelta(days=1)}
    assert found(environment, last, {"backup/main.b": replace(HELD, since=since, renewed=since)}) == gone


def test_a_later_run_by_hand_hides_no_run_of_the_schedule(environment: Environment) -> None:
    released = replace(HELD, released=NEW, runs=SubjectRuns(of_tick=run_at(NEW)))
    last = {"main.a": replace(run_at(NEW + timedelta(hours=1)), tick=None), "main.b": OLD}
    assert found(environment, last, {"backup/main.a": released}) == {"backup/main.b": Gone.FROM_SERVER}


BY_HAND = replace(run_at(NEW), tick=None)
STOPPED = run_at(NEW, Outcome.FAILED, "stopped by SIGTERM")
LONG = replace(run_at(OLD), ended=NEW + timedelta(minutes=5))


@pytest.mark.parametrize(
    "last",
    [
        {"main.a": BY_HAND, "main.b": OLD},  # only a was named, and the schedule is broken
        {"main.a": NEW, "main.b": STOPPED, "main.c": OLD},  # c had no turn any more
        {"main.a": NEW, "main.b": replace(LONG, tick=None)},  # by hand, and it held the lock at the scheduled time
    ],
)
def test_a_database_whose_turn_did_not_come_is_not_gone(
    environment: Environment, last: Mapping[str, datetime | RunSummary]
) -> None:
    """It would be no problem then, and nobody would learn that its backups are overdue."""
    assert found(environment, last) == {}


def test_a_subject_that_is_gone_is_no_problem_and_forgotten_after_a_week(environment: Environment) -> None:
    last = {"backup/crm": run_at(NOW - timedelta(days=6), Outcome.FAILED)}
    (shown,) = gone_health({"backup/crm": Gone.FROM_FILE}, last, NOW)
    assert (shown.state, shown.sentence) == (HealthState.GONE, "no longer in the file; shown until Nov 22")
    assert gone_health({"backup/crm": Gone.FROM_FILE}, last, NOW + timedelta(days=2)) == []
    assert gone_health({"backup/crm": Gone.SILENCED}, last, NOW) == []
