from dataclasses import replace

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.postgres.settings import DatabaseProperties
from jobs.backup.restore.restore import RestoreMode, choose_mode, choose_properties, definition_options, owned_by
from jobs.backup.restore.target import RestoreTarget


def target(*, exists: bool = True, objects: int = 0, standby: bool = False) -> RestoreTarget:
    databases = frozenset({"shop"} if exists else {"postgres"})
    return RestoreTarget("shop", 16, standby, True, "me", False, objects, frozenset(), databases, "1")


@pytest.mark.parametrize(
    ("found", "create", "replaces", "mode"),
    [
        (target(), False, False, RestoreMode.EMPTY_DATABASE),
        (target(exists=False), True, False, RestoreMode.NEW_DATABASE),
        (target(exists=False), True, True, RestoreMode.NEW_DATABASE),
        (target(objects=3), False, True, RestoreMode.REPLACE),
        (target(), True, True, RestoreMode.REPLACE),
    ],
)
def test_chooses_the_mode_by_options_and_target(
    found: RestoreTarget, create: bool, replaces: bool, mode: RestoreMode
) -> None:
    assert choose_mode(found, create=create, replaces=replaces) is mode


@pytest.mark.parametrize(
    ("found", "create", "mode"),
    [
        (target(objects=3), False, RestoreMode.ADD_TABLES),
        (target(), False, RestoreMode.EMPTY_DATABASE),
        (target(exists=False), True, RestoreMode.NEW_DATABASE),
    ],
)
def test_single_tables_can_join_others(found: RestoreTarget, create: bool, mode: RestoreMode) -> None:
    assert choose_mode(found, create=create, replaces=False, only_tables=True) is mode


@pytest.mark.parametrize(
    ("found", "create", "replaces", "error"),
    [
        (target(objects=1), False, False, "not empty: it has 1 table, function or other object; use --replace"),
        (target(objects=3), False, False, "not empty: it has 3 tables, functions and other objects; use --replace"),
        (target(objects=3), True, False, "already exists.*--replace"),
        (target(exists=False), False, False, "database shop does not exist.*--create"),
        (target(exists=False), False, True, "database shop does not exist.*; use --create instead of --replace"),
        (target(standby=True), True, True, "standby.*primary"),
    ],
)
def test_a_refusal_names_the_remedy(found: RestoreTarget, create: bool, replaces: bool, error: str) -> None:
    with pytest.raises(BackupError, match=error):
        choose_mode(found, create=create, replaces=replaces)


def test_refuses_to_replace_a_database_by_single_tables() -> None:
    with pytest.raises(BackupError, match="--replace does not work with --tables"):
        choose_mode(target(objects=3), create=False, replaces=True, only_tables=True)


def test_a_role_without_superuser_rights_restores_no_owners_and_privileges() -> None:
    options = definition_options(replace(target(), superuser=False, tablespaces=True))
    assert options.flags == ("--no-owner", "--no-privileges", "--no-subscriptions")
    assert definition_options(target()).flags == ("--no-tablespaces",)


def test_a_replaced_database_keeps_its_owner_and_privileges() -> None:
    from_set = DatabaseProperties("UTF8", "C", "C", "libc", None, "a", "from the set", 5, ("work_mem=1MB",), ())
    old = DatabaseProperties("UTF8", "C", "C", "libc", None, "b", "from the old one", -1, (), ('CONNECT TO "c"',))
    assert choose_properties(from_set, None, keep_old=False) == from_set
    assert choose_properties(from_set, None, keep_old=True) == replace(
        from_set, comment=None, connection_limit=-1, settings=()
    ), "settings of production can be secret"
    assert choose_properties(from_set, old, keep_old=True) == old
    properties = choose_properties(from_set, old, keep_old=False)
    assert (properties.owner, properties.privileges, properties.comment, properties.settings) == (
        "b",
        old.privileges,
        "from the set",
        from_set.settings,
    )
    assert choose_properties(from_set, replace(old, private=True), keep_old=False).private


def test_a_new_owner_keeps_all_privileges() -> None:
    closed = DatabaseProperties("UTF8", "C", "C", "libc", None, "a", None, -1, (), ('CONNECT TO "c"',))
    assert owned_by(closed, "b").privileges == ('CONNECT TO "c"', 'ALL TO "b"')
    assert owned_by(replace(closed, privileges=()), "b").privileges == ()
    assert owned_by(replace(closed, privileges=(), private=True), "b").privileges == ('ALL TO "b"',)
