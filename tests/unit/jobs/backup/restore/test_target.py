from datetime import UTC, datetime, timedelta

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.restore.restore import Way, settings_for, way
from jobs.backup.restore.target import TargetState, left_behind, name_beside, name_kept
from jobs.backup.sets.manifest import Settings

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def place(*, exists: bool = True, objects: int = 0, standby: bool = False) -> TargetState:
    databases = frozenset({"shop"} if exists else {"postgres"})
    return TargetState("shop", 16, standby, True, "me", False, objects, frozenset(), databases, "1")


@pytest.mark.parametrize(
    ("there", "create", "replaces", "chosen"),
    [
        (place(), False, False, Way.INTO_EMPTY),
        (place(exists=False), True, False, Way.AS_NEW),
        (place(exists=False), True, True, Way.AS_NEW),
        (place(objects=3), False, True, Way.IN_PLACE_OF),
        (place(), True, True, Way.IN_PLACE_OF),
    ],
)
def test_how_a_set_gets_to_where_it_is_wanted(there: TargetState, create: bool, replaces: bool, chosen: Way) -> None:
    assert way(there, create=create, replaces=replaces) is chosen


@pytest.mark.parametrize(
    ("there", "create", "replaces", "said"),
    [
        (place(objects=3), False, False, "not empty .it has 3 .*--replace"),
        (place(objects=3), True, False, "exists already.*--replace"),
        (place(exists=False), False, False, "no database shop.*--create"),
        (place(exists=False), False, True, "no database shop.*--create"),
        (place(standby=True), True, True, "standby.*primary"),
    ],
)
def test_what_is_refused_is_told_with_the_way_out(there: TargetState, create: bool, replaces: bool, said: str) -> None:
    with pytest.raises(BackupError, match=said):
        way(there, create=create, replaces=replaces)


def test_names_say_what_and_when_and_are_never_cut_at_their_end() -> None:
    assert name_beside("shop", NOW) == "shop_restoring_20261121_093000"
    assert name_kept("shop", NOW) == "shop_replaced_20261121_093000"
    assert name_kept("shop", NOW, {"shop_replaced_20261121_093000"}) == "shop_replaced_20261121_093001"
    assert name_kept("ü" * 40, NOW) == "ü" * 19 + "_replaced_20261121_093000"
    assert len(name_beside("x" * 63, NOW)) == 63


def test_only_what_a_dead_restore_of_this_database_left_is_swept() -> None:
    names = [
        "shop_restoring_20261120_093000",
        "shop_restoring_20261121_092930",
        "shop_replaced_20261120_093000",
        "shop_restoring_mine",
        "shop_restoring_20269999_093000",
        "workshop_restoring_20261120_093000",
        "shop",
    ]
    assert left_behind(names, NOW, "shop") == ["shop_restoring_20261120_093000"]
    assert left_behind(names, NOW) == ["shop_restoring_20261120_093000", "workshop_restoring_20261120_093000"]
    long = "ü" * 31
    assert left_behind([name_beside(long, NOW - timedelta(days=1))], NOW, long) != []


def test_a_replaced_database_keeps_its_owner_and_who_may_use_it() -> None:
    taken = Settings("UTF8", "C", "C", "libc", None, "a", "from the set", 5, ("work_mem=1MB",), ())
    old = Settings("UTF8", "C", "C", "libc", None, "b", "from here", -1, (), ('CONNECT TO "c"',))
    assert settings_for(taken, None, like_the_old=False) == taken
    assert settings_for(taken, old, like_the_old=True) == old
    kept = settings_for(taken, old, like_the_old=False)
    assert (kept.owner, kept.privileges, kept.comment, kept.settings) == (
        "b",
        old.privileges,
        "from the set",
        taken.settings,
    )
