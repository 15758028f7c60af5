from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.sets.choose_set import chosen, moment
from jobs.backup.sets.sets import Set
from jobs.run.job import UnknownName

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "utc"),
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
def test_times_are_read_in_the_environments_timezone(said: str, utc: str) -> None:
    assert moment(said, BERLIN, NOW) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize("said", ["yesterday", "25:00", "", "2026-13-01", "02"])
def test_what_is_no_time_is_told_with_what_would_be(said: str) -> None:
    with pytest.raises(UnknownName, match="write 2026-11-20, 02:00"):
        moment(said, BERLIN, NOW)


def a_set(day: int, tail: str, *, complete: bool = True) -> Set:
    at = datetime(2026, 11, day, 2, tzinfo=UTC)
    ended = at if complete else None
    return Set("staging", "shop", f"{at:%Y%m%dT%H%M%SZ}-{tail}", at, 1, ended, None, None, False, ())


SETS = [a_set(18, "aaaa"), a_set(19, "bbbb"), a_set(20, "cccc"), a_set(21, "dddd", complete=False)]


def test_the_newest_complete_set_is_taken_by_itself() -> None:
    assert chosen(SETS, "shop").id == "20261120T020000Z-cccc"


def test_a_set_is_named_whole_or_by_its_end() -> None:
    assert chosen(SETS, "shop", "20261118T020000Z-aaaa").id == chosen(SETS, "shop", "aaaa").id
    for not_there in ("dddd", "eeee"):
        with pytest.raises(BackupError, match="its newest is 20261120T020000Z-cccc"):
            chosen(SETS, "shop", not_there)


def test_the_last_set_before_a_moment() -> None:
    assert chosen(SETS, "shop", before=datetime(2026, 11, 19, 23, tzinfo=UTC)).id.endswith("bbbb")
    with pytest.raises(BackupError, match="its oldest is 20261118T020000Z-aaaa"):
        chosen(SETS, "shop", before=datetime(2026, 11, 1, tzinfo=UTC))


def test_no_complete_set_at_all() -> None:
    with pytest.raises(BackupError, match="no complete backup set"):
        chosen(SETS[3:], "shop")
