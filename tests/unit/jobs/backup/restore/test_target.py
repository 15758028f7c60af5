import pytest

from jobs.backup.errors import BackupError
from jobs.backup.restore.restore import Way, settings_for, way
from jobs.backup.restore.target import TargetState
from jobs.backup.sets.manifest import Settings


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
