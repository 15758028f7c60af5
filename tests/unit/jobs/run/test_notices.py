"""Notices: sent once to every address, later to an address that was not reached at first."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import jobs.log
from inventories import Secret
from jobs.run import Notice, Options, Outcome, Record, alerts, delivery, documents, notices, records, run_job
from jobs.run.delivery import Message, combine
from jobs.run.notices import known_notices
from jobs.store import Store
from tests.parts.runs import done, environment, job, store_in

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
LOG = jobs.log.get()
BOTH = ("json://a", "json://b")
HALF = Notice(("half",), "half of it is gone", "12 of 24")
NONE = Notice()


class FakeSender:
    """Keeps the notices that it sends, and can fail for an address."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.texts: list[str] = []
        self.down: set[str] = set()

    def __call__(self, address: Secret, message: delivery.Message) -> bool:
        if address.literal in self.down:
            raise ConnectionError("no route")
        self.sent.append(f"{address.literal}: {message.title}")
        self.texts.append(message.plain)
        return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (record,) = run_job(job(done), environment(), store_in(tmp_path / "other"), Options(), now=lambda: NOON)
    return record


def send_notices(
    record: Record, store: Store, send: Any, to: tuple[str, ...] = ("json://a",), hours: float = 0
) -> None:
    claims = alerts.claim_alerts(record, environment(to), store, LOG, lambda: NOON + timedelta(hours=hours))
    delivery.Delivery(claims, LOG).deliver(environment(to).alerts.to, send, delivery.DELIVERY_TIMEOUT)


def test_each_key_is_sent_once_without_reminders(record: Record, store: Store) -> None:
    sender, finding = FakeSender(), replace(record, outcome=Outcome.FINDING, notice=HALF)
    for hours in range(0, 100, 20):
        send_notices(finding, store, sender, hours=hours)
    send_notices(replace(record, notice=NONE), store, sender, hours=100)
    assert sender.sent == ["json://a: staging: half of it is gone"]
    assert sender.texts == ["12 of 24"]
    assert known_notices(store, "staging", "backup", "shop") == {"half"}


def test_a_failure_still_causes_an_alert_and_so_does_its_end(record: Record, store: Store) -> None:
    sender = FakeSender()
    send_notices(replace(record, outcome=Outcome.FAILED), store, sender)
    send_notices(replace(record, outcome=Outcome.FINDING, notice=NONE), store, sender, hours=1)
    assert sender.sent == [
        "json://a: staging: backup of shop is failing: all is well",
        "json://a: staging: backup of shop works again",
    ]


def test_an_unreached_address_gets_the_same_text_later(record: Record, store: Store) -> None:
    sender = FakeSender()
    sender.down = {"json://b"}
    send_notices(replace(record, notice=HALF), store, sender, BOTH)
    send_notices(replace(record, notice=NONE), store, sender, BOTH, hours=1)
    sender.down = set()
    send_notices(
        replace(record, notice=replace(HALF, keys=("all",), title="all of it is gone")), store, sender, BOTH, hours=2
    )
    send_notices(replace(record, notice=NONE), store, sender, BOTH, hours=3)
    assert sender.sent[:1] == ["json://a: staging: half of it is gone"]
    assert sorted(sender.sent[1:]) == ["json://a: staging: all of it is gone", "json://b: staging: 2 findings"]
    assert "staging: half of it is gone\n12 of 24\n\nstaging: all of it is gone\n12 of 24" in sender.texts


def test_a_notice_survives_when_no_address_is_reached(record: Record, store: Store) -> None:
    sender = FakeSender()
    sender.down = {"json://a"}
    send_notices(replace(record, notice=HALF), store, sender)
    sender.down = set()
    send_notices(replace(record, notice=NONE), store, sender, hours=1)
    assert sender.sent == ["json://a: staging: half of it is gone"]


def test_a_fresh_claim_is_respected_and_an_old_one_is_taken_over(record: Record, store: Store) -> None:
    sender = FakeSender()
    news = replace(record, notice=HALF)
    assert alerts.claim_alerts(news, environment(BOTH), store, LOG, lambda: NOON)
    send_notices(news, store, sender, hours=0.001)
    assert sender.sent == []
    send_notices(news, store, sender, hours=0.01)
    assert sender.sent == ["json://a: staging: half of it is gone"]


def test_a_planted_claim_in_the_future_silences_no_notice(record: Record, store: Store) -> None:
    sender, planted = FakeSender(), notices.NoticeState(claimed_at=NOON + timedelta(days=300_000))
    store.put("staging/alerts/backup/shop/notices.json", documents.to_body(asdict(planted)))
    send_notices(replace(record, notice=HALF), store, sender)
    assert sender.sent == ["json://a: staging: half of it is gone"]


def test_a_notice_during_a_delivery_is_kept_for_the_next_run(record: Record, store: Store) -> None:
    sender = FakeSender()
    claims = alerts.claim_alerts(replace(record, notice=HALF), environment(BOTH), store, LOG, lambda: NOON)
    send_notices(replace(record, notice=replace(HALF, keys=("all",), title="all")), store, sender, hours=0.001)
    delivery.Delivery(claims, LOG).deliver(environment(BOTH).alerts.to, sender, delivery.DELIVERY_TIMEOUT)
    send_notices(replace(record, notice=NONE), store, sender, hours=0.01)
    assert sorted(sender.sent) == [
        "json://a: staging: all",
        "json://a: staging: half of it is gone",
        "json://b: staging: half of it is gone",
    ]


def test_the_record_has_the_notice_for_a_run_that_takes_over(store: Store) -> None:
    from jobs.run import Result

    run_job(job(lambda _run: Result(Outcome.FINDING, "x", notice=HALF)), environment(), store, Options())
    (record,) = records(store, "staging")
    assert record.notice == HALF


def test_many_messages_are_combined_to_their_titles() -> None:
    two = [Message("staging: a", "first"), Message("staging: b", "second")]
    assert combine(two) == Message("staging: 2 findings", "staging: a\nfirst\n\nstaging: b\nsecond")
    many = combine([Message(f"staging: {number}", "text") for number in range(11)])
    assert many.text.splitlines()[:2] == ["staging: 0", "staging: 1"]
    assert "text" not in many.text
