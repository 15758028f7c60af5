"""Retention of a copy: its own rules, its own leftovers, and nothing of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobs.retention.job import RETENTION, plan_prune
from jobs.run import Options, Outcome, run_job
from jobs.run.lease import Holder, holder_to, lock_key
from jobs.run.record import Record
from jobs.schedule.slots import Slot, slots
from tests.parts.copies import ONCE, TwoPlaces, two_places
from tests.parts.sets import daily, put, set_id, stored_sets

NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def prune(places: TwoPlaces, *only: str) -> list[Record]:
    return run_job(RETENTION, places.environment, places.store, Options(only=only), timeouts=ONCE)


def test_a_copy_is_pruned_by_its_own_rules(tmp_path: Path) -> None:
    places = two_places(tmp_path, "keep = { daily = 3 }")
    for at in daily(NEWEST, 5):
        put(places.store, at)
        put(places.copy, at)
    (record,) = prune(places, "offsite")
    assert (record.subject, record.outcome) == ("offsite.shop", Outcome.DONE)
    assert record.sentence == "removed 2 of 5 sets, 30 B"
    assert [each.id for each in stored_sets(places.copy)] == [set_id(at) for at in reversed(daily(NEWEST, 3))]
    assert len(stored_sets(places.store)) == 5
    assert places.run().figures["copied_sets"] == 0


def test_a_pin_of_the_copy_counts_there_only(tmp_path: Path) -> None:
    places = two_places(tmp_path, "keep = { last = 1 }")
    newest, oldest = daily(NEWEST, 2)
    put(places.store, oldest)
    put(places.copy, newest)
    put(places.copy, oldest, "pin")
    _, decision = plan_prune(places.store, places.environment, "offsite.shop", NEWEST).decisions
    assert decision.reasons == ("pinned",)


def test_retention_prunes_copies_that_are_scheduled_or_named(tmp_path: Path) -> None:
    places = two_places(tmp_path)
    put(places.store, NEWEST)
    put(places.copy, NEWEST)
    assert [record.subject for record in prune(places)] == ["shop"]
    assert [record.subject for record in prune(places, "shop", "offsite")] == ["shop", "offsite.shop"]
    (tmp_path / "other").mkdir()
    scheduled = two_places(tmp_path / "other", 'retention = "30 9 * * *"')
    put(scheduled.copy, NEWEST)
    assert [record.subject for record in prune(scheduled)] == ["shop", "offsite.shop"]
    assert Slot("retention", "offsite", "30 9 * * *") in slots(scheduled.environment)


def test_an_interrupted_copy_stays_for_a_week(places: TwoPlaces) -> None:
    at = NEWEST - timedelta(days=30)
    put(places.copy, at, complete=False)

    def abandoned(days: float) -> int:
        now = datetime.now(UTC) + timedelta(days=days)
        return len(plan_prune(places.store, places.environment, "offsite.shop", now).abandoned_sets)

    assert [abandoned(days) for days in (0, 6.9, 7.1)] == [0, 0, 1]


def test_an_interrupted_copy_stays_while_a_run_goes_on_with_it(places: TwoPlaces) -> None:
    put(places.copy, NEWEST - timedelta(days=30), complete=False)
    now = datetime.now(UTC) + timedelta(days=8)
    holder = Holder("r1", "host", 1, since=now, seconds=60)
    places.store.put(lock_key("try", "copy", "offsite.shop"), holder_to(holder))
    assert plan_prune(places.store, places.environment, "offsite.shop", now).abandoned_sets == ()


def test_a_copy_that_cannot_be_read_fails_in_its_own_run(places: TwoPlaces) -> None:
    places.copy.delete(["try/groundcrew.json"])
    shop, offsite = prune(places, "shop", "offsite")
    assert shop.outcome is Outcome.DONE
    assert (offsite.subject, offsite.outcome) == ("offsite", Outcome.FAILED)
    assert "this store was not made for try" in offsite.sentence
