"""What is told once: to everybody, whoever could not be reached at first, and never again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import jobs.log
from inventories import Secret
from jobs.run import Notice, Options, Outcome, Record, alerts, delivery, records, run_job
from jobs.run.delivery import Message, combine
from jobs.run.notices import known_notices
from jobs.store import Store
from tests.parts.runs import done, environment, job, store_in

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
LOG = jobs.log.get()
BOTH = ("json://a", "json://b")
HALF = Notice(("half",), "half of it is gone", "12 of 24")
NONE = Notice()


class Ears:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.texts: list[str] = []
        self.deaf: set[str] = set()

    def __call__(self, address: Secret, title: str, text: str) -> bool:
        if address.literal in self.deaf:
            raise ConnectionError("nobody there")
        self.heard.append(f"{address.literal}: {title}")
        self.texts.append(text)
        return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (record,) = run_job(job(done), environment(), store_in(tmp_path / "other"), Options(), now=lambda: NOON)
    return record


def tell(record: Record, store: Store, send: Any, to: tuple[str, ...] = ("json://a",), hours: float = 0) -> None:
    found = alerts.claim_alerts(record, environment(to), store, LOG, lambda: NOON + timedelta(hours=hours))
    delivery.Delivery(found, LOG).deliver(environment(to).alerts.to, send, delivery.DELIVERY_TIMEOUT)


def test_each_key_is_told_once_and_never_reminded_of(record: Record, store: Store) -> None:
    ears, found = Ears(), replace(record, outcome=Outcome.FINDING, tidings=HALF)
    for hours in range(0, 100, 20):
        tell(found, store, ears, hours=hours)
    tell(replace(record, tidings=NONE), store, ears, hours=100)
    assert ears.heard == ["json://a: staging: half of it is gone"]
    assert ears.texts == ["12 of 24"]
    assert known_notices(store, "staging", "backup", "shop") == {"half"}


def test_a_failure_is_told_as_ever_and_its_end_too(record: Record, store: Store) -> None:
    ears = Ears()
    tell(replace(record, outcome=Outcome.FAILED), store, ears)
    tell(replace(record, outcome=Outcome.FINDING, tidings=NONE), store, ears, hours=1)
    assert ears.heard == [
        "json://a: staging: backup of shop is failing",
        "json://a: staging: backup of shop works again",
    ]


def test_who_could_not_be_reached_gets_the_same_words_later(record: Record, store: Store) -> None:
    ears = Ears()
    ears.deaf = {"json://b"}
    tell(replace(record, tidings=HALF), store, ears, BOTH)
    tell(replace(record, tidings=NONE), store, ears, BOTH, hours=1)
    ears.deaf = set()
    tell(replace(record, tidings=replace(HALF, keys=("all",), title="all of it is gone")), store, ears, BOTH, hours=2)
    tell(replace(record, tidings=NONE), store, ears, BOTH, hours=3)
    assert ears.heard[:1] == ["json://a: staging: half of it is gone"]
    assert sorted(ears.heard[1:]) == ["json://a: staging: all of it is gone", "json://b: staging: 2 alerts"]
    assert "staging: half of it is gone\n12 of 24\n\nstaging: all of it is gone\n12 of 24" in ears.texts


def test_when_nobody_could_be_reached_nothing_is_lost(record: Record, store: Store) -> None:
    ears = Ears()
    ears.deaf = {"json://a"}
    tell(replace(record, tidings=HALF), store, ears)
    ears.deaf = set()
    tell(replace(record, tidings=NONE), store, ears, hours=1)
    assert ears.heard == ["json://a: staging: half of it is gone"]


def test_what_is_claimed_is_left_to_who_claimed_it_and_told_by_the_next_if_he_died(
    record: Record, store: Store
) -> None:
    ears = Ears()
    news = replace(record, tidings=HALF)
    assert alerts.claim_alerts(news, environment(BOTH), store, LOG, lambda: NOON)
    tell(news, store, ears, hours=0.001)
    assert ears.heard == []
    tell(news, store, ears, hours=0.01)
    assert ears.heard == ["json://a: staging: half of it is gone"]


def test_news_that_come_while_others_are_told_are_kept_for_the_next_run(record: Record, store: Store) -> None:
    ears = Ears()
    claims = alerts.claim_alerts(replace(record, tidings=HALF), environment(BOTH), store, LOG, lambda: NOON)
    tell(replace(record, tidings=replace(HALF, keys=("all",), title="all")), store, ears, hours=0.001)
    delivery.Delivery(claims, LOG).deliver(environment(BOTH).alerts.to, ears, delivery.DELIVERY_TIMEOUT)
    tell(replace(record, tidings=NONE), store, ears, hours=0.01)
    assert sorted(ears.heard) == [
        "json://a: staging: all",
        "json://a: staging: half of it is gone",
        "json://b: staging: half of it is gone",
    ]


def test_tidings_stand_in_the_record_for_who_takes_over(store: Store) -> None:
    from jobs.run import Result

    run_job(job(lambda _run: Result(Outcome.FINDING, "x", tidings=HALF)), environment(), store, Options())
    (found,) = records(store, "staging")
    assert found.tidings == HALF


def test_many_messages_are_one() -> None:
    two = [Message("staging: a", "first"), Message("staging: b", "second")]
    assert combine(two) == Message("staging: 2 alerts", "staging: a\nfirst\n\nstaging: b\nsecond")
    many = combine([Message(f"staging: {number}", "said") for number in range(11)])
    assert many.text.splitlines()[:2] == ["staging: 0", "staging: 1"]
    assert "said" not in many.text
