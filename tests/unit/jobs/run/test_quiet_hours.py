"""Quiet hours: findings wait and are sent once, later; failures are sent at once; nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

import jobs.log
from inventories import Environment, Secret
from inventories.value_types import QuietHours
from jobs.run import Notice, Options, Outcome, Record, delivery, run_job
from jobs.run.alert_queue import AlertQueue
from jobs.run.delivery import ClaimedMessages, Message, address_id
from jobs.run.quiet_hours import let_wait, waiting_key
from jobs.store import OutOfReach, Store
from tests.parts.runs import CountingStore, done, environment, job, store_in

LOG = jobs.log.get()
NIGHT = datetime(2026, 5, 5, 22, 0, tzinfo=UTC)  # midnight in Berlin
MORNING = NIGHT + timedelta(hours=8)


@pytest.fixture
def quiet() -> Environment:
    env = environment(("json://a",), more='[[alerts.routes]]\njobs = ["cost"]\nto = ["json://b"]\n')
    return replace(env, alerts=replace(env.alerts, quiet=QuietHours(time(22), time(7))))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    titles: list[str] = []

    def send(address: Secret, message: Message) -> bool:
        titles.append(f"{address.literal}: {message.title}")
        return True

    monkeypatch.setattr(delivery, "send_by_apprise", send)
    return titles


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (record,) = run_job(job(done), environment(), store_in(tmp_path / "other"), Options(), now=lambda: NIGHT)
    return record


def announce(record: Record, env: Environment, store: Store, now: datetime) -> None:
    queue = AlertQueue(env, store, LOG, lambda: now)
    queue.add(record)
    queue.close()


def test_a_finding_waits_and_a_failure_does_not(
    record: Record, quiet: Environment, store: Store, sent: list[str]
) -> None:
    finding = replace(record, job="drift", outcome=Outcome.FINDING, sentence="1 changed")
    announce(finding, quiet, store, NIGHT)
    announce(replace(finding), quiet, store, NIGHT + timedelta(hours=1))
    assert sent == []
    announce(replace(record, outcome=Outcome.FAILED, sentence="no route"), quiet, store, NIGHT)
    announce(record, quiet, store, NIGHT + timedelta(hours=2))
    assert sent == [
        "json://a: staging: backup of shop is failing: no route",
        "json://a: staging: backup of shop works again",
    ]
    sent.clear()
    for hours in (0, 1):
        announce(replace(record, job="verify"), quiet, store, MORNING + timedelta(hours=hours))
    assert sent == ["json://a: staging: drift of shop has a finding: 1 changed"]


def test_notices_wait_for_their_own_addresses_and_a_burst_is_one_message(
    record: Record, quiet: Environment, store: Store, sent: list[str]
) -> None:
    half = Notice(("half",), "half of it is gone", "12 of 24")
    announce(replace(record, job="cost", notice=half), quiet, store, NIGHT)
    announce(replace(record, job="cost", notice=replace(half, keys=("all",), title="all")), quiet, store, NIGHT)
    announce(replace(record, job="cost", notice=half), quiet, store, NIGHT + timedelta(hours=3))
    assert sent == []
    announce(record, quiet, store, MORNING)
    assert sent == ["json://b: staging: 2 findings"]


def test_a_run_that_is_killed_before_it_notes_that_a_finding_waits_lets_it_wait_once(
    quiet: Environment, store: Store, sent: list[str], record: Record
) -> None:
    def dies(_unreached: object) -> None:
        raise OutOfReach("killed")

    claim = ClaimedMessages({address_id(Secret(literal="json://a")): Message("staging: x", "y")}, dies, urgent=False)
    for minutes in (0, 1):
        let_wait(claim, quiet, store, NIGHT + timedelta(minutes=minutes))
    announce(record, quiet, store, MORNING)
    announce(record, quiet, store, MORNING)
    assert sent == ["json://a: staging: x"]


def test_what_waits_is_sent_even_if_the_file_has_no_quiet_hours_any_more(
    record: Record, quiet: Environment, store: Store, sent: list[str]
) -> None:
    announce(replace(record, outcome=Outcome.FINDING, sentence="odd"), quiet, store, NIGHT)
    announce(replace(record, job="verify"), environment(("json://a",)), store, NIGHT)
    assert sent == ["json://a: staging: backup of shop has a finding: odd"]


def test_a_store_that_cannot_keep_a_finding_lets_it_be_sent_at_once(
    record: Record, quiet: Environment, store: Store, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = CountingStore(store)
    create = broken.create

    def refuse(key: str, body: bytes, lock: object = None) -> str:
        if key == waiting_key("staging"):
            raise OutOfReach("away")
        return create(key, body)

    monkeypatch.setattr(broken, "create", refuse)
    announce(replace(record, outcome=Outcome.FINDING, sentence="odd"), quiet, broken, NIGHT)
    assert sent == ["json://a: staging: backup of shop has a finding: odd"]


@pytest.mark.parametrize(
    ("hours", "at", "is_quiet"),
    [
        ((22, 7), time(23), True),
        ((22, 7), time(6, 59), True),
        ((22, 7), time(7), False),
        ((1, 5), time(0, 30), False),
        ((1, 5), time(1), True),
    ],
)
def test_quiet_hours_can_begin_before_midnight(hours: tuple[int, int], at: time, is_quiet: bool) -> None:
    assert QuietHours(time(hours[0]), time(hours[1])).include(at) is is_quiet
