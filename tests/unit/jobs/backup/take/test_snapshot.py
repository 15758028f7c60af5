import pytest

from jobs.backup.take.snapshot import LockRoom, describe_room


def room(objects: int, in_use: int = 0) -> LockRoom:
    """PostgreSQL 15 as it is installed."""
    return LockRoom(documented=6400, with_own_processes=7744, per_transaction=64, in_use=in_use, objects=objects)


@pytest.mark.parametrize(
    ("objects", "in_use", "for_holder", "hopeless"),
    [
        (0, 0, True, False),
        (6400, 0, True, False),
        (6400, 1, False, False),
        (9000, 100, False, False),
        (16488, 0, False, False),
        (16488, 1, False, True),
        (20000, 0, False, True),
    ],
)
def test_the_holder_of_the_snapshot_locks_tables_if_there_is_room(
    objects: int, in_use: int, for_holder: bool, hopeless: bool
) -> None:
    assert (room(objects, in_use).for_holder, room(objects, in_use).hopeless) == (for_holder, hopeless)


@pytest.mark.parametrize(("objects", "setting"), [(6400, 64), (6401, 65), (20000, 200)])
def test_the_setting_that_is_named_gives_room_for_everything(objects: int, setting: int) -> None:
    assert room(objects).needed_setting == setting
    assert f"set max_locks_per_transaction = {setting} or more (now 64)" in describe_room(room(objects))
