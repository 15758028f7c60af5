"""Which sets are kept: examples of each rule, and properties of any sets under any policy."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventories import Keep
from inventories.value_types import Span
from jobs.retention.policy import (
    PERIODS,
    ClockBehind,
    apply_policy,
    explain,
    require_plausible_clock,
    subtract_span,
)
from tests.parts.examples import examples
from tests.parts.sets import listed

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Backup:
    started: datetime
    id: str = ""
    tags: tuple[str, ...] = ()
    verified: datetime | None = None
    failed_verification: datetime | None = None
    pinned: bool = False
    untrusted: str | None = None

    @property
    def has_failed(self) -> bool:
        failed = self.failed_verification
        return failed is not None and (self.verified is None or self.verified < failed)

    @property
    def is_verified(self) -> bool:
        return self.verified is not None and not self.has_failed

    @property
    def sort_key(self) -> tuple[datetime, datetime, str]:
        return self.started, self.started, self.id


def at(text: str, **more: object) -> Backup:
    started = datetime.fromisoformat(text)
    started = started if started.tzinfo else started.replace(tzinfo=UTC)
    return Backup(started, text, **more)


def kept(sets: list[Backup], policy: Keep, now: datetime = NOW) -> list[str]:
    return [each.set.id for each in apply_policy(sets, policy, now) if each.keep]


def why(sets: list[Backup], policy: Keep, now: datetime = NOW) -> dict[str, str]:
    return {each.set.id: explain(each) for each in apply_policy(sets, policy, now)}


TWICE_A_DAY = [at(f"2026-11-{day:02}T{hour}:00") for day in range(1, 21) for hour in ("02", "14")]
MIXED = [
    at(text)
    for text in (
        "2026-11-20T14:30", "2026-11-20T14:10", "2026-11-20T13:59", "2026-11-19T23:59", "2026-11-16T00:00",
        "2026-11-15T23:59", "2026-10-31T12:00", "2026-01-01T00:00", "2025-12-31T23:59", "2024-06-01T00:00",
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Keep(last=1), ["2026-11-20T14:30"]),
        (Keep(last=3), ["2026-11-20T14:30", "2026-11-20T14:10", "2026-11-20T13:59"]),
        (Keep(last=-1), [each.id for each in MIXED]),
        (Keep(last=99), [each.id for each in MIXED]),
        (Keep(hourly=2), ["2026-11-20T14:30", "2026-11-20T13:59"]),
        (Keep(daily=2), ["2026-11-20T14:30", "2026-11-19T23:59"]),
        (Keep(daily=4), ["2026-11-20T14:30", "2026-11-19T23:59", "2026-11-16T00:00", "2026-11-15T23:59"]),
        (Keep(weekly=2), ["2026-11-20T14:30", "2026-11-15T23:59"]),
        (Keep(monthly=2), ["2026-11-20T14:30", "2026-10-31T12:00"]),
        (Keep(yearly=2), ["2026-11-20T14:30", "2025-12-31T23:59"]),
        (Keep(yearly=-1), ["2026-11-20T14:30", "2025-12-31T23:59", "2024-06-01T00:00"]),
        (Keep(daily=1, yearly=2), ["2026-11-20T14:30", "2025-12-31T23:59"]),
        (Keep(within=Span(hours=1)), ["2026-11-20T14:30", "2026-11-20T14:10", "2026-11-20T13:59"]),
        (Keep(within=Span(days=1)), [each.id for each in MIXED[:4]]),
        (Keep(within_hourly=Span(days=1)), ["2026-11-20T14:30", "2026-11-20T13:59", "2026-11-19T23:59"]),
        (Keep(within_daily=Span(days=5)), [MIXED[n].id for n in (0, 3, 4, 5)]),
        (Keep(within_weekly=Span(months=1)), ["2026-11-20T14:30", "2026-11-15T23:59", "2026-10-31T12:00"]),
        (Keep(within_monthly=Span(years=1)), [MIXED[n].id for n in (0, 6, 7, 8)]),
        (Keep(within_yearly=Span(years=9)), ["2026-11-20T14:30", "2025-12-31T23:59", "2024-06-01T00:00"]),
    ],
    ids=str,
)  # fmt: skip
def test_each_rule(policy: Keep, expected: list[str]) -> None:
    assert kept(MIXED, policy) == expected


def test_empty_days_do_not_count() -> None:
    gaps = [at("2026-11-20T02:00"), at("2026-11-12T02:00"), at("2026-08-03T02:00"), at("2026-08-02T02:00")]
    assert kept(gaps, Keep(daily=3)) == ["2026-11-20T02:00", "2026-11-12T02:00", "2026-08-03T02:00"]


def test_the_oldest_set_is_kept_while_a_rule_has_periods_left() -> None:
    sets = [at("2026-11-20T02:00"), at("2026-06-01T02:00"), at("2026-02-01T02:00")]
    assert why(sets, Keep(yearly=2))["2026-02-01T02:00"] == "oldest yearly (0 left)"
    assert why(sets, Keep(yearly=2))["2026-06-01T02:00"] == "yearly: newer set kept for 2026 (1 left)"
    assert kept(sets, Keep(yearly=1)) == ["2026-11-20T02:00"]


def test_a_year_of_daily_backups_under_the_production_policy() -> None:
    first = datetime(2025, 1, 1, 2, tzinfo=UTC)
    sets = [Backup(first + timedelta(hours=6 * n), str(n)) for n in range(4 * 689 + 2)]
    decisions = apply_policy(sets, Keep(within=Span(days=2), daily=90, yearly=5), NOW)
    keep = [each for each in decisions if each.keep]
    assert (
        len(keep) == 8 + 87 + 1 + 1
    )  # two whole days (three of the 90 daily sets), 87 more days, the last set of 2025, and the oldest set
    assert [explain(each) for each in keep[-2:]] == ["yearly (3 left)", "oldest yearly (2 left)"]


ISO_WEEKS = [at("2027-01-03T12:00"), at("2026-12-28T12:00"), at("2026-12-27T12:00"), at("2024-12-30T12:00")]


def test_weeks_are_iso_weeks_of_the_iso_year() -> None:
    now = datetime(2027, 2, 1, tzinfo=UTC)
    assert kept(ISO_WEEKS, Keep(weekly=2), now) == ["2027-01-03T12:00", "2026-12-27T12:00"]
    assert why(ISO_WEEKS, Keep(weekly=9), now)["2026-12-28T12:00"] == "weekly: newer set kept for 2026-W53 (8 left)"
    assert why([at("2025-01-05T12:00"), at("2024-12-30T12:00"), at("2024-12-01T12:00")], Keep(weekly=1), now) == {
        "2025-01-05T12:00": "newest, weekly (0 left)",
        "2024-12-30T12:00": "weekly: 0 left",
        "2024-12-01T12:00": "weekly: 0 left",
    }


def test_days_are_in_the_timezone_of_now() -> None:
    around_midnight_in_berlin = [at("2026-11-19T23:30"), at("2026-11-19T22:30"), at("2026-11-18T23:30")]
    assert kept(around_midnight_in_berlin, Keep(daily=2), NOW) == ["2026-11-19T23:30", "2026-11-18T23:30"]
    assert kept(around_midnight_in_berlin, Keep(daily=2), NOW.astimezone(BERLIN)) == [
        "2026-11-19T23:30",
        "2026-11-19T22:30",
    ]


def test_the_timezone_that_a_set_was_made_in_does_not_matter() -> None:
    elsewhere = [at("2026-11-20T00:30+02:00"), at("2026-11-19T20:00+00:00")]
    assert kept(elsewhere, Keep(daily=1)) == ["2026-11-20T00:30+02:00"]
    assert kept(elsewhere, Keep(daily=2)) == ["2026-11-20T00:30+02:00", "2026-11-19T20:00+00:00"]
    assert why(elsewhere, Keep(daily=2))["2026-11-19T20:00+00:00"] == "oldest daily (0 left)"


@pytest.mark.parametrize(
    ("time", "span", "expected"),
    [
        ("2026-03-31T10:00", Span(months=1), "2026-03-03T10:00"),
        ("2028-03-31T10:00", Span(months=1), "2028-03-02T10:00"),
        ("2028-02-29T10:00", Span(years=1), "2027-03-01T10:00"),
        ("2026-01-15T10:00", Span(months=1), "2025-12-15T10:00"),
        ("2026-01-15T10:00", Span(years=2, months=5, days=7, hours=3), "2023-08-08T07:00"),
        ("2026-03-01T10:00", Span(days=1), "2026-02-28T10:00"),
        ("2026-03-01T02:00", Span(hours=3), "2026-02-28T23:00"),
        ("2026-01-15T10:00", Span(years=9999), "0001-01-01T00:00"),
        ("0001-01-15T10:00", Span(days=300), "0001-01-01T00:00"),
    ],
)
def test_subtracting_months_overflows_into_the_next_month(time: str, span: Span, expected: str) -> None:
    assert subtract_span(at(time).started, span) == at(expected).started


def test_days_are_subtracted_by_the_calendar_and_hours_by_elapsed_time() -> None:
    after_the_change = datetime(2026, 3, 29, 12, tzinfo=BERLIN)
    assert subtract_span(after_the_change, Span(days=1)) == datetime(2026, 3, 28, 12, tzinfo=BERLIN)
    assert subtract_span(after_the_change, Span(hours=24)) == datetime(2026, 3, 28, 11, tzinfo=BERLIN)


def test_within_is_exclusive_and_counts_from_the_newest_set_not_from_now() -> None:
    sets = [at("2026-10-20T02:00"), at("2026-10-18T02:01"), at("2026-10-18T02:00"), at("2026-10-01T02:00")]
    assert kept(sets, Keep(within=Span(days=2))) == ["2026-10-20T02:00", "2026-10-18T02:01"]
    assert why(sets, Keep(within=Span(days=2)))["2026-10-18T02:00"] == "within 2d: too old"


def test_within_keeps_a_set_in_the_future_but_does_not_count_from_it() -> None:
    sets = [at("2026-11-22T11:00"), at("2026-11-21T02:00"), at("2026-11-20T03:00"), at("2026-11-20T01:00")]
    assert kept(sets, Keep(within=Span(days=1))) == ["2026-11-22T11:00", "2026-11-21T02:00", "2026-11-20T03:00"]


def test_if_all_sets_are_in_the_future_within_keeps_them() -> None:
    sets = [at("2026-11-22T11:00"), at("2026-11-22T10:00")]
    assert kept(sets, Keep(within=Span(hours=1))) == ["2026-11-22T11:00", "2026-11-22T10:00"]


def test_a_set_with_all_tags_of_a_list_is_kept() -> None:
    policy = Keep(tags=(("release",), ("monthly", "audit")))
    sets = [
        at("2026-11-20T02:00"),
        at("2026-11-19T02:00", tags=("release", "x")),
        at("2026-11-18T02:00", tags=("audit", "monthly")),
        at("2026-11-17T02:00", tags=("monthly",)),
    ]
    assert why(sets, policy) == {
        "2026-11-20T02:00": "newest",
        "2026-11-19T02:00": "has tags release",
        "2026-11-18T02:00": "has tags monthly, audit",
        "2026-11-17T02:00": "no matching tags",
    }


def test_pinned_the_newest_and_the_newest_verified_are_never_removed() -> None:
    verification = NOW
    sets = [
        at("2026-11-20T02:00", tags=("x",)),
        at("2026-11-19T02:00"),
        at("2026-11-18T02:00", verified=verification),
        at("2026-11-17T02:00", verified=verification),
        at("2026-11-16T02:00", verified=verification, pinned=True),
        at("2026-11-15T02:00", pinned=True),
    ]
    assert why(sets, Keep(tags=(("none has this",),))) == {
        "2026-11-20T02:00": "newest",
        "2026-11-19T02:00": "no matching tags",
        "2026-11-18T02:00": "newest verified",
        "2026-11-17T02:00": "no matching tags",
        "2026-11-16T02:00": "pinned",
        "2026-11-15T02:00": "pinned",
    }


def test_a_later_failed_verification_cancels_an_earlier_success() -> None:
    before, after = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    sets = [
        at("2026-11-20T02:00"),
        at("2026-11-19T02:00", verified=before, failed_verification=after),
        at("2026-11-18T02:00", verified=after, failed_verification=before),
    ]
    assert kept(sets, Keep(last=1)) == ["2026-11-20T02:00", "2026-11-18T02:00"]


FAILED = NOW - timedelta(hours=1)


def failed(text: str, **more: object) -> Backup:
    return at(text, failed_verification=FAILED, **more)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Keep(daily=2), ["2026-11-20T14:00", "2026-11-20T02:00", "2026-11-19T02:00"]),
        (Keep(daily=3), ["2026-11-20T14:00", "2026-11-20T02:00", "2026-11-19T02:00", "2026-11-18T14:00"]),
        (Keep(weekly=1), ["2026-11-20T14:00", "2026-11-20T02:00"]),
        (Keep(last=1), ["2026-11-20T14:00", "2026-11-20T02:00"]),
        (Keep(last=3), ["2026-11-20T14:00", "2026-11-20T02:00", "2026-11-19T02:00", "2026-11-16T02:00"]),
        (Keep(last=4), ["2026-11-20T14:00", "2026-11-20T02:00", "2026-11-19T02:00", "2026-11-16T02:00"]),
        (Keep(last=-1), [
            "2026-11-20T14:00", "2026-11-20T02:00", "2026-11-19T14:00", "2026-11-19T02:00", "2026-11-18T14:00",
            "2026-11-18T02:00", "2026-11-16T02:00"
        ]),
        (Keep(within_daily=Span(days=3)), [
            "2026-11-20T14:00", "2026-11-20T02:00", "2026-11-19T02:00", "2026-11-18T14:00"
        ]),
        (Keep(within_daily=Span(hours=3)), ["2026-11-20T14:00", "2026-11-20T02:00"]),
        (Keep(tags=(("none has this",),)), ["2026-11-20T14:00", "2026-11-20T02:00"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_failed_set_fills_no_period_that_has_another_set(policy: Keep, expected: list[str]) -> None:
    sets = [
        failed("2026-11-20T14:00"), at("2026-11-20T02:00"), failed("2026-11-19T14:00"), at("2026-11-19T02:00"),
        failed("2026-11-18T14:00"), failed("2026-11-18T02:00"), at("2026-11-16T02:00"),
    ]  # fmt: skip
    assert kept(sets, policy) == expected


def test_a_removed_set_whose_verification_failed_says_so() -> None:
    sets = [
        at("2026-11-20T14:00"),
        failed("2026-11-19T14:00"),
        at("2026-11-19T02:00"),
        failed("2026-11-18T14:00"),
        failed("2026-11-18T02:00"),
    ]
    reasons = why(sets, Keep(last=1, daily=5))
    assert reasons["2026-11-19T14:00"] == (
        "verification failed, last: 0 left, daily: another set of 2026-11-19 has not failed (4 left)"
    )
    assert reasons["2026-11-19T02:00"] == "daily (3 left)"
    assert reasons["2026-11-18T14:00"] == "daily (2 left)"
    assert reasons["2026-11-18T02:00"] == (
        "verification failed, last: 0 left, daily: newer set kept for 2026-11-18 (2 left)"
    )
    assert why([failed("2026-11-20T14:00"), failed("2026-11-19T14:00"), at("2026-11-18T14:00")], Keep(last=1)) == {
        "2026-11-20T14:00": "newest",
        "2026-11-19T14:00": "verification failed, last: older sets have not failed (1 left)",
        "2026-11-18T14:00": "newest that has not failed, last (0 left)",
    }


def test_the_oldest_set_is_the_oldest_one_that_has_not_failed() -> None:
    sets = [at("2026-11-20T02:00"), at("2026-02-02T02:00"), failed("2026-02-01T02:00")]
    assert why(sets, Keep(yearly=2)) == {
        "2026-11-20T02:00": "newest, yearly (1 left)",
        "2026-02-02T02:00": "oldest yearly (0 left)",
        "2026-02-01T02:00": "verification failed, yearly: 0 left",
    }


def test_each_reason_shows_the_remaining_count() -> None:
    reasons = why(TWICE_A_DAY, Keep(last=2, daily=3, weekly=2, yearly=-1))
    assert reasons["2026-11-20T14:00"] == "newest, last (1 left), daily (2 left), weekly (1 left), yearly"
    assert reasons["2026-11-20T02:00"] == "last (0 left)"
    assert reasons["2026-11-19T14:00"] == "daily (1 left)"
    assert reasons["2026-11-19T02:00"] == (
        "last: 0 left, daily: newer set kept for 2026-11-19 (1 left), weekly: newer set kept for 2026-W47 (1 left), "
        "yearly: newer set kept for 2026"
    )
    assert reasons["2026-11-01T02:00"] == "oldest yearly"


def test_the_label_of_an_hour() -> None:
    assert why(MIXED, Keep(hourly=9))["2026-11-20T14:10"] == "hourly: newer set kept for 2026-11-20 14h (8 left)"


def test_a_policy_without_rules_removes_nothing_and_says_so() -> None:
    assert set(why(MIXED, Keep()).values()) == {"policy is empty"}
    assert kept(MIXED, Keep()) == [each.id for each in MIXED]


def test_no_sets() -> None:
    assert apply_policy([], Keep(daily=1), NOW) == []
    require_plausible_clock([], NOW)


def test_a_clock_more_than_a_day_behind_the_newest_set_is_refused() -> None:
    require_plausible_clock([at("2026-11-22T12:00")], NOW)
    with pytest.raises(
        ClockBehind, match=r"2026-11-21 12:00 UTC, more than a day before the newest set \(2026-11-22 12:01"
    ):
        require_plausible_clock([at("2020-01-01"), at("2026-11-22T12:01")], NOW)


# Properties of any sets under any policy

moments = st.datetimes(datetime(2019, 1, 1), datetime(2026, 11, 22, 11), timezones=st.just(UTC))
close = st.integers(0, 24 * 80).map(lambda hours: NOW + timedelta(hours=12) - timedelta(hours=hours))
counts = st.sampled_from([None, None, None, 1, 2, 3, 7, -1])
spans = st.one_of(
    st.none(),
    st.builds(
        Span, years=st.integers(0, 3), months=st.integers(0, 14), days=st.integers(0, 40), hours=st.integers(0, 30)
    ),
)
TAGS = ("a", "b", "c")
COUNTED = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
WITHIN = ("within", *(f"within_{name}" for name in COUNTED[1:]))
policies = st.builds(
    Keep,
    **dict.fromkeys(COUNTED, counts),
    **dict.fromkeys(WITHIN, spans.map(lambda span: span if span and str(span) else None)),
    tags=st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=2).map(tuple), max_size=2).map(tuple),
)
some_sets = st.lists(
    st.builds(
        Backup,
        started=st.one_of(moments, close),
        tags=st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple),
        verified=st.sampled_from([None, None, NOW]),
        failed_verification=st.sampled_from([None, None, NOW - timedelta(hours=1), NOW + timedelta(hours=1)]),
        pinned=st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=40,
).map(lambda sets: [replace(each, id=f"{place:02}") for place, each in enumerate(sets)])
zones = st.sampled_from([UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Pacific/Apia")])


@examples(150)
@given(some_sets, policies, zones)
def test_newest_pinned_and_newest_verified_are_always_kept(sets: list[Backup], policy: Keep, zone: ZoneInfo) -> None:
    keep = kept(sets, policy, NOW.astimezone(zone))
    newest_first = sorted(sets, key=lambda each: each.sort_key, reverse=True)
    assert newest_first[0].id in keep
    assert {each.id for each in sets if each.pinned} <= set(keep)
    not_failed = [each for each in newest_first if not each.has_failed]
    assert {each.id for each in not_failed[:1]} <= set(keep)
    assert {each.id for each in [each for each in not_failed if each.verified][:1]} <= set(keep)


@examples(150)
@given(some_sets, st.sampled_from(["daily", "weekly", "monthly", "yearly"]), zones)
def test_no_failed_set_is_kept_for_a_period_that_has_another(sets: list[Backup], rule: str, zone: ZoneInfo) -> None:
    decisions = apply_policy(sets, Keep(**{rule: -1}), NOW.astimezone(zone))
    period_of = PERIODS[rule]
    assert period_of is not None
    others = {period_of(each.started.astimezone(zone)) for each in sets if not each.has_failed}
    by_rule = [each.set for each in decisions if any(rule in reason for reason in each.reasons)]
    for each in by_rule:
        assert not each.has_failed or period_of(each.started.astimezone(zone)) not in others


@examples(150)
@given(some_sets, policies, zones)
def test_a_second_run_removes_nothing_more(sets: list[Backup], policy: Keep, zone: ZoneInfo) -> None:
    keep = set(kept(sets, policy, NOW.astimezone(zone)))
    remaining = [each for each in sets if each.id in keep]
    assert set(kept(remaining, policy, NOW.astimezone(zone))) == keep


@examples(150)
@given(some_sets, policies, zones, st.randoms())
def test_the_order_of_the_input_does_not_matter(
    sets: list[Backup], policy: Keep, zone: ZoneInfo, dice: random.Random
) -> None:
    assert apply_policy(dice.sample(sets, len(sets)), policy, NOW.astimezone(zone)) == apply_policy(
        sets, policy, NOW.astimezone(zone)
    )


@examples(150)
@given(some_sets, policies, policies, zones)
def test_adding_rules_to_a_policy_that_has_one_never_removes_more(
    sets: list[Backup], policy: Keep, more: Keep, zone: ZoneInfo
) -> None:
    policy = policy if policy != Keep() else Keep(daily=2)
    added = {name: getattr(more, name) for name in (*COUNTED, *WITHIN) if getattr(policy, name) is None}
    both = replace(policy, **added, tags=(*policy.tags, *more.tags))
    now = NOW.astimezone(zone)
    assert set(kept(sets, policy, now)) <= set(kept(sets, both, now))


@examples(150)
@given(some_sets, policies)
def test_a_removed_set_has_an_explanation_and_no_reason_to_keep_it(sets: list[Backup], policy: Keep) -> None:
    for each in apply_policy(sets, policy, NOW):
        assert each.keep == bool(each.reasons)
        assert explain(each)


def test_of_two_sets_started_in_the_same_second_the_one_completed_last_is_newest() -> None:
    first, last = (
        replace(listed(NOW), id=f"20261121T020000Z-{tail}", completed=NOW + timedelta(seconds=later))
        for tail, later in (("ffff", 1), ("0000", 2))
    )
    assert [each.set.id for each in apply_policy([last, first], Keep(daily=1), NOW) if each.keep] == [last.id]


UNSIGNED = "it is not signed"


def test_an_untrusted_set_fills_no_period_and_moves_no_other_rule() -> None:
    newest = at("2026-11-20T14:00", untrusted=UNSIGNED)
    trusted = [at(f"2026-11-{day}T02:00") for day in (20, 19, 18)]
    assert why([newest, *trusted], Keep(daily=2)) == {
        "2026-11-20T14:00": "not counted, because it is not signed",
        "2026-11-20T02:00": "newest, daily (1 left)",
        "2026-11-19T02:00": "daily (0 left)",
        "2026-11-18T02:00": "daily: 0 left",
    }


def test_an_untrusted_set_does_not_move_the_time_from_which_within_counts() -> None:
    sets = [at("2026-11-21T02:00", untrusted=UNSIGNED), at("2026-10-02T02:00"), at("2026-10-01T02:00")]
    assert kept(sets, Keep(within=Span(days=2))) == [each.id for each in sets]


def test_an_untrusted_set_is_never_the_oldest_nor_the_newest_verified() -> None:
    sets = [
        at("2026-11-20T02:00", untrusted=UNSIGNED, verified=NOW),
        at("2026-11-19T02:00", verified=NOW),
        at("2026-11-18T02:00"),
        at("2026-11-17T02:00", untrusted=UNSIGNED),
    ]
    assert why(sets, Keep(yearly=5)) == {
        "2026-11-20T02:00": "not counted, because it is not signed",
        "2026-11-19T02:00": "newest, newest verified, yearly (4 left)",
        "2026-11-18T02:00": "oldest yearly (3 left)",
        "2026-11-17T02:00": "yearly: newer set kept for 2026 (3 left)",
    }


@pytest.mark.parametrize("rule", [Keep(daily=1), Keep(last=1)])
def test_an_untrusted_set_takes_no_place_of_a_failed_one(rule: Keep) -> None:
    failed = at("2026-11-20T14:00", failed_verification=NOW)
    untrusted = at("2026-11-20T02:00", untrusted=UNSIGNED)
    assert "2026-11-20T14:00" in kept([failed, untrusted], rule)


def test_only_sets_that_a_rule_would_keep_are_asked_whether_they_are_trusted() -> None:
    asked = []

    class Asked(Backup):
        def __getattribute__(self, name: str) -> object:
            if name == "untrusted":
                asked.append(self.id)
            return super().__getattribute__(name)

    sets: list[Backup] = [Asked(each.started, each.id) for each in TWICE_A_DAY]
    assert len(kept(sets, Keep(daily=3))) == 3
    assert len(set(asked)) < 6
