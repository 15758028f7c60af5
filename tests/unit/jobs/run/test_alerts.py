from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobs.log
from inventories import Secret
from jobs.run import Failed, Options, Outcome, Record, alerts, delivery, run_job
from jobs.run.alerts import AlertReason, AlertState, after_delivery, after_run, alert_reason
from jobs.run.delivery import address_id
from jobs.store import Denied, OutOfReach, Store, StoreError
from tests.parts.runs import done, environment, job, store_in

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
DONE, FINDING, FAILED = Outcome.DONE, Outcome.FINDING, Outcome.FAILED
LOG = jobs.log.get()


@pytest.mark.parametrize(
    ("told", "about", "hours", "outcome", "now_about", "is_news"),
    [
        (DONE, "", 1, DONE, "", None),
        (DONE, "", 1, FAILED, "", AlertReason.FAILING),
        (DONE, "", 1, FINDING, "a", AlertReason.FOUND),
        (FAILED, "", 1, DONE, "", AlertReason.RECOVERED),
        (FAILED, "x", 1, FAILED, "another sentence", None),
        (FAILED, "", 24, FAILED, "", AlertReason.REMINDER),
        (FAILED, "", 23.9, FAILED, "", AlertReason.REMINDER),  # a run that is a few minutes faster than yesterday's
        (FAILED, "", 12, FAILED, "", None),
        (FAILED, "", 1, FINDING, "a", AlertReason.FOUND),
        (FINDING, "a", 1, FINDING, "a", None),
        (FINDING, "a", 1, FINDING, "b", AlertReason.CHANGED),
        (FINDING, "a", 25, FINDING, "a", AlertReason.REMINDER),
        (FINDING, "a", 1, FAILED, "", AlertReason.FAILING),
        (FINDING, "a", 1, DONE, "", AlertReason.GONE),
    ],
)
def test_news_is_what_people_do_not_know_yet(
    told: Outcome, about: str, hours: float, outcome: Outcome, now_about: str, is_news: AlertReason | None
) -> None:
    state = AlertState(told=told, told_at=NOON, about=about)
    assert alert_reason(state, outcome, now_about, NOON + timedelta(hours=hours), DAY) is is_news


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (record,) = run_job(job(done), environment(), store_in(tmp_path / "other"), Options(), now=lambda: NOON)
    return record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


class Told:
    """A notifier that keeps what it was told, and can be made to fail for an address."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.texts: list[str] = []
        self.down: set[str] = set()

    def __call__(self, address: Secret, title: str, text: str) -> bool:
        if address.literal in self.down:
            return False
        self.titles.append(f"{address.literal}: {title}")
        self.texts.append(text)
        return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([DONE, FINDING, FAILED]), max_size=12))
def test_whatever_happens_people_end_up_knowing_how_it_is(record: Record, outcomes: list[Outcome]) -> None:
    state = AlertState()
    for hour, outcome in enumerate(outcomes):
        now = NOON + timedelta(hours=hour)
        state = after_run(state, outcome, now)
        if what := alert_reason(state, outcome, "same", now, 100 * DAY):
            state = after_delivery(state, replace(record, outcome=outcome, about="same"), what, (), now)
            assert state.since
        assert state.told is outcome
        assert alert_reason(state, outcome, "same", now, 100 * DAY) is None


def tell(record: Record, store: Store, send: Any, hours: float = 0, to: tuple[str, ...] = ("json://a",)) -> None:
    env = environment(to)
    found = alerts.claim_alerts(record, env, store, LOG, lambda: NOON + timedelta(hours=hours))
    delivery.Delivery(found, LOG).deliver(env.alerts.to, send, delivery.DELIVERY_TIMEOUT)


def test_failing_is_told_once_then_reminded_of_then_called_off(record: Record, store: Store) -> None:
    told, failed = Told(), replace(record, outcome=FAILED, sentence="no route to db.internal")
    for hours in range(0, 30, 6):
        tell(failed, store, told, hours)
    tell(record, store, told, 30)
    tell(record, store, told, 36)
    assert told.titles == [
        "json://a: staging: backup of shop is failing",
        "json://a: staging: backup of shop is still as it was told",
        "json://a: staging: backup of shop works again",
    ]
    assert told.texts[1] == (
        "no route to db.internal\n\nSince 2026-05-05 12:00 CEST. More: crew runs staging backup shop"
    )


def test_telling_that_failed_is_not_counted_and_tried_again_at_the_next_run(record: Record, store: Store) -> None:
    told, failed = Told(), replace(record, outcome=FAILED)
    told.down = {"json://a"}
    tell(failed, store, told)
    told.down = set()
    tell(failed, store, told, 1)
    tell(failed, store, told, 2)
    assert told.titles == ["json://a: staging: backup of shop is failing"]
    assert "Since 2026-05-05 12:00" in told.texts[0]


def test_who_could_not_be_reached_is_owed_it_and_nobody_is_told_twice(record: Record, store: Store) -> None:
    told, failed, both = Told(), replace(record, outcome=FAILED), ("json://a", "json://b")
    told.down = {"json://b"}
    tell(failed, store, told, 0, both)
    tell(failed, store, told, 1, both)
    told.down = set()
    tell(failed, store, told, 2, both)
    tell(failed, store, told, 3, both)
    assert told.titles == [
        "json://a: staging: backup of shop is failing",
        "json://b: staging: backup of shop is failing",
    ]


def test_an_address_that_was_taken_out_of_the_file_is_owed_nothing(record: Record, store: Store) -> None:
    told, failed = Told(), replace(record, outcome=FAILED)
    told.down = {"json://b"}
    tell(failed, store, told, 0, ("json://a", "json://b"))
    tell(failed, store, told, 1)
    assert address_id(Secret(literal="json://b")) not in store.get("staging/alerts/backup/shop.json").body.decode()


def test_a_claim_that_is_fresh_is_left_to_who_made_it_and_an_old_one_told_again(record: Record, store: Store) -> None:
    told, failed = Told(), replace(record, outcome=FAILED)

    def dies(_address: Secret, _title: str, _text: str) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "replace", dead)
            tell(failed, store, told, 0.001)
        assert told.titles == [], "two runners tell once"
        return True

    def dead(*_: object) -> str:
        raise AssertionError("the second runner wrote")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "after_delivery", dead)
        with pytest.raises(AssertionError):
            tell(failed, store, dies)
    tell(failed, store, told, 0.005)
    assert told.titles == []
    tell(failed, store, told, 0.01)
    assert told.titles == ["json://a: staging: backup of shop is failing"]


@pytest.mark.parametrize(
    "fault", [OutOfReach("away"), Denied("no rights"), StoreError("the disk is full"), Failed("is no document")]
)
@pytest.mark.parametrize(("outcome", "told_as"), [(FAILED, ["is failing"]), (FINDING, ["has a finding"]), (DONE, [])])
def test_bad_news_is_told_without_a_claim_where_the_store_can_not_hold_one(
    record: Record, fault: Exception, outcome: Outcome, told_as: list[str]
) -> None:
    class Broken:
        def get(self, key: str) -> None:
            raise fault

    told = Told()
    tell(replace(record, outcome=outcome), Broken(), told)  # type: ignore[arg-type]
    assert told.titles == [f"json://a: staging: backup of shop {words}" for words in told_as]


def test_no_address_in_clear_in_the_store(record: Record, store: Store) -> None:
    told = Told()
    told.down = {"slack://token"}
    tell(replace(record, outcome=FAILED), store, told, 0, ("slack://token", "json://a"))
    body = store.get("staging/alerts/backup/shop.json").body.decode()
    assert "token" not in body
    assert address_id(Secret(literal="slack://token")) in body
