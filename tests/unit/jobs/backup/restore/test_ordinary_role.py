"""Which entries of a set an ordinary role restores, and which roles are ordinary."""

from __future__ import annotations

import pytest

from jobs.backup.restore.ordinary_role import OrdinaryRole, excessive_rights, needs_roles, restore_lists

LISTING = "\n".join(
    [
        ";",
        "; Archive created at 2026-11-26 11:20:29 UTC",
        ";     dbname: shop",
        ";",
        "6; 2615 16385 SCHEMA - extensions postgres",
        "7; 2615 16386 SCHEMA - extensions2 app",
        "2; 3079 16387 EXTENSION - hstore ",
        "3507; 0 0 COMMENT - EXTENSION hstore ",
        "215; 1259 16401 TABLE public orders app",
        "3508; 0 0 ACL public TABLE orders app",
        "2100; 826 16399 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES app",
        "3300; 2606 16405 CONSTRAINT public orders orders_pkey app",
        "3509; 0 0 COMMENT - SCHEMA public postgres",
        "3511; 0 0 COMMENT - SCHEMA extensions postgres",
        "3512; 0 0 ACL - SCHEMA extensions postgres",
        "3513; 0 0 ACL - SCHEMA extensions2 app",
        "3510; 0 16401 TABLE DATA public configured postgres",
        "",
    ]
)
SUPERUSERS = """\
3400; 3466 16409 EVENT TRIGGER - on_ddl postgres
900; 2616 16410 OPERATOR CLASS public by_length postgres
"""


def test_a_superuser_restores_only_extensions_with_their_schemas_and_privileges() -> None:
    lists = restore_lists(LISTING, {"extensions"}, "app")
    assert lists.extensions == (6, 2, 3507, 3509, 3511)
    assert lists.by_role == (7, 215, 3300, 3510)
    assert lists.schema_privileges == (3512,)
    assert lists.privileges == (3508, 2100, 3513)
    assert lists.refused == ()
    assert not lists.of_others


@pytest.mark.parametrize(
    ("entry", "by_superuser"),
    [
        ("SCHEMA - public app", True),
        ("SCHEMA - public the shop", True),  # its owner is `the shop`
        ("SCHEMA - public too app", False),  # its name is `public too`
        ("COMMENT - SCHEMA public the shop", True),
        ("COMMENT - SCHEMA public too app", False),
    ],
)
def test_names_with_spaces_show_no_other_schema(entry: str, by_superuser: bool) -> None:
    listing = f"7; 2615 16401 {entry}\n"
    lists = restore_lists(listing, (), "app", {"app", "the shop"} if needs_roles(listing) else ())
    assert bool(lists.extensions) is by_superuser
    assert bool(lists.by_role) is not by_superuser


def test_what_needs_a_superuser_is_refused_by_name() -> None:
    lists = restore_lists(LISTING + SUPERUSERS, (), "app")
    assert lists.refused == ("EVENT TRIGGER - on_ddl", "OPERATOR CLASS public by_length")
    assert len(lists.of_others) == 4


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("TABLE public orders app", None),
        ("CAST - CAST (text AS integer) ", None),
        ("SCHEMA - s pg_database_owner", None),
        ("TABLE public app other", "TABLE public app of other"),
        ("FUNCTION public f(integer) postgres", "FUNCTION public f(integer) of postgres"),
        ("BLOB METADATA - 16400..16402 other", "BLOB METADATA - 16400..16402 of other"),
        ("SUBSCRIPTION - sub app", "SUBSCRIPTION - sub of app"),
        ("EVENT TRIGGER - ddl app", "EVENT TRIGGER - ddl of app"),
    ],
)
def test_what_belongs_to_others_is_named(entry: str, found: str | None) -> None:
    lists = restore_lists(f"7; 1259 16401 {entry}\n", (), "app")
    assert list(lists.of_others.values()) == ([found] if found else [])


@pytest.mark.parametrize(
    ("holder", "superuser", "createrole", "reason"),
    [
        ("app", True, False, "this role is a superuser"),
        ("dba", True, True, "this role is a member of dba, which is a superuser"),
        ("app", False, True, "this role can create roles"),
        ("pg_execute_server_program", False, False, "which can read or write files of the server, or start programs"),
    ],
)
def test_a_role_with_more_rights_is_refused_with_the_reason(
    holder: str, superuser: bool, createrole: bool, reason: str
) -> None:
    assert reason in excessive_rights("app", holder, superuser, createrole)


def test_a_password_is_not_printed() -> None:
    assert "s3cret" not in repr(OrdinaryRole("app", "s3cret"))
