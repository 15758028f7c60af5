"""Alerts: news once, reminders, recovery; at least once whatever dies."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobs.log
from inventories import Secret
from jobs.run import Failed, Options, Outcome, Record, alerts, delivery, documents, run_job
from jobs.run.alerts import AlertReason, AlertState, after_delivery, after_run, alert_reason
from jobs.run.delivery import address_id
from jobs.store import Denied, OutOfReach, Store, StoreError
from tests.parts.runs import done, environment, job, store_in

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
DONE, FINDING, FAILED = Outcome.DONE, Outcome.FINDING, Outcome.FAILED
LOG = jobs.log.get()


@pytest.mark.parametrize(
    ("alerted", "about", "hours", "outcome", "new_about", "reason"),
    [
        (DONE, "", 1, DONE, "", None),
        (DONE, "", 1, FAILED, "", AlertReason.FAILING),
        (DONE, "", 1, FINDING, "a", AlertReason.FOUND),
        (FAILED, "", 1, DONE, "", AlertReason.RECOVERED),
        (FAILED, "x", 1, FAILED, "another sentence", None),
        (FAILED, "", 24, FAILED, "", AlertReason.REMINDER),
        (
            FAILED,
            "",
            23.9,
            FAILED,
            "",
            AlertReason.REMINDER,
        ),  # a few minutes faster than yesterday
        (FAILED, "", 12, FAILED, "", None),
        (FAILED, "", 1, FINDING, "a", AlertReason.FOUND),
        (FINDING, "a", 1, FINDING, "a", None),
        (FINDING, "a", 1, FINDING, "b", AlertReason.CHANGED),
        (FINDING, "a", 25, FINDING, "a", AlertReason.REMINDER),
        (FINDING, "a", 1, FAILED, "", AlertReason.FAILING),
        (FINDING, "a", 1, DONE, "", AlertReason.GONE),
    ],
)
def test_an_alert_is_sent_for_news_only(
    alerted: Outcome, about: str, hours: float, outcome: Outcome, new_about: str, reason: AlertReason | None
) -> None:
    state = AlertState(alerted=alerted, alerted_at=NOON, about=about)
    assert alert_reason(state, outcome, new_about, NOON + timedelta(hours=hours), DAY) is reason


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (record,) = run_job(job(done), environment(), store_in(tmp_path / "other"), Options(), now=lambda: NOON)
    return record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


class FakeSender:
    """Keeps the alerts that it sends, and can fail for an address."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.texts: list[str] = []
        self.down: set[str] = set()

    def __call__(self, address: Secret, message: delivery.Message) -> bool:
        if address.literal in self.down:
            return False
        self.titles.append(f"{address.literal}: {message.title}")
        self.texts.append(message.plain)
        return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([DONE, FINDING, FAILED]), max_size=12))
def test_the_last_alert_always_says_the_last_outcome(record: Record, outcomes: list[Outcome]) -> None:
    state = AlertState()
    for hour, outcome in enumerate(outcomes):
        now = NOON + timedelta(hours=hour)
        state = after_run(state, outcome, now)
        if reason := alert_reason(state, outcome, "same", now, 100 * DAY):
            state = after_delivery(state, replace(record, outcome=outcome, about="same"), reason, (), now)
            assert state.since
        assert state.alerted is outcome
        assert alert_reason(state, outcome, "same", now, 100 * DAY) is None


def send_alerts(record: Record, store: Store, send: Any, hours: float = 0, to: tuple[str, ...] = ("json://a",)) -> None:
    env = environment(to)
    claims = alerts.claim_alerts(record, env, store, LOG, lambda: NOON + timedelta(hours=hours))
    delivery.Delivery(claims, LOG).deliver(env.alerts.to, send, delivery.DELIVERY_TIMEOUT)


def test_a_failure_causes_one_alert_then_reminders_then_a_recovery(record: Record, store: Store) -> None:
    sender, failed = FakeSender(), replace(record, outcome=FAILED, sentence="no route to db.internal")
    for hours in range(0, 30, 6):
        send_alerts(failed, store, sender, hours)
    send_alerts(record, store, sender, 30)
    send_alerts(record, store, sender, 36)
    assert sender.titles == [
        "json://a: staging: backup of shop is failing: no route to db.internal",
        "json://a: staging: backup of shop still has the same problem: no route to db.internal",
        "json://a: staging: backup of shop works again",
    ]
    assert sender.texts[1] == (
        "no route to db.internal\n\nSince 2026-05-05 12:00 CEST. Look closer: crew runs staging backup shop --last"
    )


def test_a_failed_delivery_is_tried_again_at_the_next_run(record: Record, store: Store) -> None:
    sender, failed = FakeSender(), replace(record, outcome=FAILED)
    sender.down = {"json://a"}
    send_alerts(failed, store, sender)
    sender.down = set()
    send_alerts(failed, store, sender, 1)
    send_alerts(failed, store, sender, 2)
    assert sender.titles == ["json://a: staging: backup of shop is failing: all is well"]
    assert "Since 2026-05-05 12:00" in sender.texts[0]


def test_an_unreached_address_gets_the_alert_later_and_no_address_gets_it_twice(record: Record, store: Store) -> None:
    sender, failed, both = FakeSender(), replace(record, outcome=FAILED), ("json://a", "json://b")
    sender.down = {"json://b"}
    send_alerts(failed, store, sender, 0, both)
    send_alerts(failed, store, sender, 1, both)
    sender.down = set()
    send_alerts(failed, store, sender, 2, both)
    send_alerts(failed, store, sender, 3, both)
    assert sender.titles == [
        "json://a: staging: backup of shop is failing: all is well",
        "json://b: staging: backup of shop is failing: all is well",
    ]


def test_an_address_that_left_the_file_is_forgotten(record: Record, store: Store) -> None:
    sender, failed = FakeSender(), replace(record, outcome=FAILED)
    sender.down = {"json://b"}
    send_alerts(failed, store, sender, 0, ("json://a", "json://b"))
    send_alerts(failed, store, sender, 1)
    assert address_id(Secret(literal="json://b")) not in store.get("staging/alerts/backup/shop.json").body.decode()


def test_a_fresh_claim_is_respected_and_an_old_one_is_taken_over(record: Record, store: Store) -> None:
    sender, failed = FakeSender(), replace(record, outcome=FAILED)

    def dies(_address: Secret, _message: delivery.Message) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "replace", dead)
            send_alerts(failed, store, sender, 0.001)
        assert sender.titles == [], "two runners sent the same alert"
        return True

    def dead(*_: object) -> str:
        raise AssertionError("the second runner wrote")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "after_delivery", dead)
        with pytest.raises(AssertionError):
            send_alerts(failed, store, dies)
    send_alerts(failed, store, sender, 0.005)
    assert sender.titles == []
    send_alerts(failed, store, sender, 0.01)
    assert sender.titles == ["json://a: staging: backup of shop is failing: all is well"]


@pytest.mark.parametrize(
    "planted",
    [
        AlertState(claimed_at=NOON + 300_000 * DAY),
        AlertState(FAILED, NOON, FAILED, NOON + 300_000 * DAY, "done"),
    ],
)
def test_a_planted_time_in_the_future_silences_no_alert(record: Record, store: Store, planted: AlertState) -> None:
    sender = FakeSender()
    store.put("staging/alerts/backup/shop.json", documents.to_body(asdict(planted)))
    send_alerts(replace(record, outcome=FAILED), store, sender)
    assert len(sender.titles) == 1


@pytest.mark.parametrize(
    "fault", [OutOfReach("away"), Denied("no rights"), StoreError("the disk is full"), Failed("not a document")]
)
@pytest.mark.parametrize(
    ("outcome", "titles"),
    [(FAILED, ["is failing: all is well"]), (FINDING, ["has a finding: all is well"]), (DONE, [])],
)
def test_without_a_store_a_bad_outcome_is_alerted_without_a_claim(
    record: Record, fault: Exception, outcome: Outcome, titles: list[str]
) -> None:
    class Broken:
        def get(self, key: str) -> None:
            raise fault

    sender = FakeSender()
    send_alerts(replace(record, outcome=outcome), Broken(), sender)  # type: ignore[arg-type]
    assert sender.titles == [f"json://a: staging: backup of shop {title}" for title in titles]


def test_the_store_holds_no_address_in_clear(record: Record, store: Store) -> None:
    sender = FakeSender()
    sender.down = {"slack://token"}
    send_alerts(replace(record, outcome=FAILED), store, sender, 0, ("slack://token", "json://a"))
    body = store.get("staging/alerts/backup/shop.json").body.decode()
    assert "token" not in body
    assert address_id(Secret(literal="slack://token")) in body


def test_a_route_sends_the_alerts_of_its_jobs_elsewhere(record: Record, store: Store) -> None:
    routes = '[[alerts.routes]]\njobs = ["backup", "cost"]\nto = ["json://b"]\n'
    env, sender = environment(("json://a",), more=routes), FakeSender()
    for one in (replace(record, outcome=FAILED), replace(record, job="verify", outcome=FAILED)):
        claims = alerts.claim_alerts(one, env, store, LOG, lambda: NOON)
        delivery.Delivery(claims, LOG).deliver(env.alerts.all_addresses, sender, delivery.DELIVERY_TIMEOUT)
    assert [title.split(" of")[0] for title in sender.titles] == [
        "json://b: staging: backup",
        "json://a: staging: verify",
    ]
