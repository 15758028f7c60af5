from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.sets.choose_set import choose_set, parse_time, warnings_on_choice
from jobs.backup.sets.sets import Set
from jobs.run.job import UnknownName
from tests.parts.sets import listed, set_id
from tests.parts.signing import TRUST

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-20", "2026-11-19T23:00"),
        ("02:00", "2026-11-21T01:00"),
        ("23:30", "2026-11-20T22:30"),
        ("2026-11-20 02:00", "2026-11-20T01:00"),
        ("2026-11-20T02:00:00Z", "2026-11-20T02:00"),
        ("2026-07-20T02:00", "2026-07-20T00:00"),
        ("20261120", "2026-11-19T23:00"),
    ],
)
def test_times_are_parsed_in_the_time_zone_of_the_environment(text: str, utc: str) -> None:
    assert parse_time(text, BERLIN, NOW) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "25:00", "", "2026-13-01", "02"])
def test_a_malformed_time_is_an_error_with_examples(text: str) -> None:
    with pytest.raises(UnknownName, match="write 2026-11-20, 02:00"):
        parse_time(text, BERLIN, NOW)


def a_set(day: int, tail: str, *, complete: bool = True) -> Set:
    at = datetime(2026, 11, day, 2, tzinfo=UTC)
    return replace(listed(at, complete=complete), id=set_id(at, tail))


SETS = [a_set(18, "aaaa"), a_set(19, "bbbb"), a_set(20, "cccc"), a_set(21, "dddd", complete=False)]


def test_the_newest_complete_set_is_the_default() -> None:
    assert choose_set(SETS, "shop").id == "20261120T020000Z-cccc"


def test_a_set_is_chosen_by_its_id_or_the_end_of_it() -> None:
    assert choose_set(SETS, "shop", "20261118T020000Z-aaaa").id == choose_set(SETS, "shop", "aaaa").id
    for missing in ("dddd", "eeee"):
        with pytest.raises(UnknownName, match="its newest is 20261120T020000Z-cccc"):
            choose_set(SETS, "shop", missing)


def test_an_ambiguous_end_of_an_id_is_an_error_that_lists_the_ids() -> None:
    with pytest.raises(UnknownName, match=r"2 sets whose ID ends with aaaa .20261117T020000Z-aaaa, 20261118T"):
        choose_set([a_set(17, "aaaa"), *SETS], "shop", "aaaa")


def test_the_last_set_before_a_time_is_chosen() -> None:
    assert choose_set(SETS, "shop", before=datetime(2026, 11, 19, 23, tzinfo=UTC)).id.endswith("bbbb")
    with pytest.raises(BackupError, match="its oldest is 20261118T020000Z-aaaa"):
        choose_set(SETS, "shop", before=datetime(2026, 11, 1, tzinfo=UTC))


def test_without_a_complete_set_there_is_an_error() -> None:
    with pytest.raises(BackupError, match="no complete backup set"):
        choose_set(SETS[3:], "shop")
    with pytest.raises(UnknownName, match="no complete backup set"):
        choose_set(SETS[3:], "shop", "dddd")


def failed(backup_set: Set, *, verified: datetime | None = None) -> Set:
    return replace(backup_set, results=listed(backup_set.started, failed=NOW, verified=verified).results)


WITH_FAILED = [SETS[0], failed(SETS[1]), failed(SETS[2], verified=NOW - timedelta(hours=1)), SETS[3]]


def test_a_set_whose_last_verification_failed_is_not_chosen() -> None:
    assert choose_set(WITH_FAILED, "shop") == SETS[0]
    passed_later = failed(SETS[2], verified=NOW + timedelta(hours=1))
    assert choose_set([*SETS[:2], passed_later], "shop") == passed_later
    assert choose_set(WITH_FAILED, "shop", any_complete=True) == WITH_FAILED[2]
    assert choose_set(WITH_FAILED, "shop", before=datetime(2026, 11, 19, 23, tzinfo=UTC)) == SETS[0]


def test_a_set_that_failed_is_used_if_it_is_named_and_a_warning_says_so() -> None:
    chosen = choose_set(WITH_FAILED, "shop", "cccc")
    assert chosen == WITH_FAILED[2]
    assert warnings_on_choice(WITH_FAILED, chosen, "cccc") == [
        "set 20261120T020000Z-cccc failed its last verification (2026-11-21 09:00 UTC)"
    ]
    assert warnings_on_choice(WITH_FAILED, SETS[0], "aaaa") == []


def test_a_warning_names_the_newer_sets_that_failed() -> None:
    [warning] = warnings_on_choice(WITH_FAILED, SETS[0])
    assert warning == (
        "set 20261118T020000Z-aaaa is used instead of a newer one: "
        "set 20261120T020000Z-cccc failed its last verification (2026-11-21 09:00 UTC); "
        "set 20261119T020000Z-bbbb failed its last verification (2026-11-21 09:00 UTC)"
    )
    assert warnings_on_choice(WITH_FAILED, SETS[0], before=datetime(2026, 11, 18, 23, tzinfo=UTC)) == []
    assert warnings_on_choice(SETS, SETS[2]) == []


def test_a_warning_names_the_newest_set_that_is_much_larger() -> None:
    sizes = [900_000, 400_000, *[3_000] * 9, 2_000]
    sets = [replace(a_set(day, "abcd"), size=size) for day, size in enumerate(sizes, start=1)]
    assert warnings_on_choice(sets, sets[-1]) == [
        "set 20261112T020000Z-abcd has 2.0 kB, and set 20261102T020000Z-abcd before it has 400 kB: rows may have been "
        "lost between them; to use the larger one, add --set 20261102T020000Z-abcd"
    ]
    assert warnings_on_choice(sets, sets[-1], sets[-1].id) == [], "it is named"
    assert warnings_on_choice(sets[2:], sets[-1]) == [], "a little smaller"
    assert warnings_on_choice([failed(sets[1]), *sets[2:]], sets[-1]) == [], "the larger one failed"
    incomplete = replace(a_set(2, "abcd", complete=False), size=400_000)
    assert warnings_on_choice([incomplete, *sets[2:]], sets[-1]) == []


def test_if_all_sets_failed_the_error_says_how_to_use_the_newest() -> None:
    with pytest.raises(BackupError, match=r"failed its last verification .*: --set 20261120T020000Z-cccc"):
        choose_set([failed(each) for each in SETS[:3]], "shop")


def unsigned(backup_set: Set) -> Set:
    return replace(backup_set, trust=TRUST)


def test_a_set_that_nobody_signed_is_chosen_only_by_name() -> None:
    with_unsigned = [*SETS[:2], unsigned(SETS[2])]
    assert choose_set(with_unsigned, "shop") == SETS[1]
    [warning] = warnings_on_choice(with_unsigned, SETS[1])
    assert warning.endswith("newer one: set 20261120T020000Z-cccc is not trusted: it is not signed")
    assert choose_set(with_unsigned, "shop", "cccc") == with_unsigned[2]
    with pytest.raises(BackupError, match=r"it is not signed; .*: --trust-unsigned 20261120T020000Z-cccc"):
        choose_set([unsigned(each) for each in SETS], "shop")


def test_a_set_dated_in_the_future_is_chosen_only_by_name() -> None:
    ahead, skewed = a_set(25, "ffff"), replace(a_set(21, "eeee"), started=NOW + timedelta(hours=3))
    assert choose_set([*SETS, ahead], "shop", now=NOW) == SETS[2]
    assert choose_set([*SETS, skewed, ahead], "shop", now=NOW) == skewed, "clocks differ by some hours"
    assert choose_set([*SETS, ahead], "shop", "ffff", now=NOW) == ahead
    [warning] = warnings_on_choice([*SETS, ahead], SETS[2], now=NOW)
    assert warning.endswith("instead of a newer one: set 20261125T020000Z-ffff is dated in the future")
    assert warnings_on_choice([*SETS, ahead], ahead, "ffff", now=NOW) == [
        "set 20261125T020000Z-ffff is dated in the future"
    ]
    with pytest.raises(BackupError, match="is dated in the future; to use it anyway: --set 20261125T020000Z-ffff"):
        choose_set([ahead], "shop", now=NOW)
