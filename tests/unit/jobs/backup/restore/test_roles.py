import pytest

from jobs.backup.errors import UnreadableSet
from jobs.backup.restore import roles
from jobs.backup.restore.roles import (
    LONGEST_STATEMENT,
    RolesScript,
    RoleStatement,
    makes_ordinary,
    makes_superuser,
    missing_roles,
    names_only,
    parse_roles,
)

SCRIPT = r"""
\restrict abc
SET client_encoding = 'UTF8';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b';
CREATE ROLE "the ""shop""; owner";
ALTER ROLE "the ""shop""; owner" WITH NOSUPERUSER LOGIN PASSWORD 'md5';
COMMENT ON ROLE "the ""shop""; owner" IS 'owns; it''s
\not a command -- nor a remark';
CREATE ROLE reader;
ALTER ROLE reader SET search_path TO 'a', 'b';
ALTER ROLE reader SET application_name TO 'a WITH SUPERUSER b';
GRANT reader TO "the ""shop""; owner" WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;
GRANT pg_read_all_data TO postgres;
-- the end
\unrestrict abc
"""


def test_splits_a_script_at_semicolons_outside_quotes() -> None:
    assert [(statement.verb, statement.role) for statement in parse_roles(SCRIPT)] == [
        ("CREATE ROLE", "postgres"),
        ("ALTER ROLE", "postgres"),
        ("CREATE ROLE", 'the "shop"; owner'),
        ("ALTER ROLE", 'the "shop"; owner'),
        ("COMMENT ON ROLE", 'the "shop"; owner'),
        ("CREATE ROLE", "reader"),
        ("ALTER ROLE", "reader"),
        ("ALTER ROLE", "reader"),
        ("GRANT", 'the "shop"; owner'),
        ("GRANT", "postgres"),
    ]
    assert parse_roles("") == ()


def parse_pieces(script: bytes, size: int) -> tuple[RoleStatement, ...]:
    parsed = RolesScript()
    for start in range(0, len(script), size):
        parsed.write(script[start : start + size])
    return parsed.statements()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_script_can_be_cut_anywhere(size: int) -> None:
    assert parse_pieces(SCRIPT.encode(), size) == parse_roles(SCRIPT)


@pytest.mark.parametrize("size", [1000, 10 << 20])
@pytest.mark.parametrize("filler", ["x", "''", ";", "--\n", '"', "\\n\n", "ü", "\nCREATE ROLE evil SUPERUSER;\n"])
def test_of_a_statement_that_is_too_long_only_the_role_is_kept(filler: str, size: int) -> None:
    """Otherwise any role of a server could let each restore of its databases run out of memory."""
    long = f"ALTER ROLE reader SET search_path TO '{filler * (2 * LONGEST_STATEMENT // len(filler))}', 'b';"
    script = f"CREATE ROLE reader;\n-- {'c' * 2 * LONGEST_STATEMENT}\n{long}\nGRANT reader TO owner;\n"
    assert parse_pieces(script.encode(), size) == (
        RoleStatement("CREATE ROLE", "reader", None, "CREATE ROLE reader;"),
        RoleStatement("ALTER ROLE", "reader", None, ""),
        RoleStatement("GRANT", "owner", "reader", "GRANT reader TO owner;"),
    )


def test_bytes_that_are_not_utf_8_change_nothing_else() -> None:
    script = RolesScript()
    script.write(b"ALTER ROLE a SET search_path TO 'caf\xe9', 'b';\nCREATE ROLE \"m\xfcller\";\nCREATE ROLE c;\n")
    setting, role, other = script.statements()
    assert setting.text.encode(errors="surrogateescape") == b"ALTER ROLE a SET search_path TO 'caf\xe9', 'b';"
    assert (role.role, other.text) == ("m?ller", "CREATE ROLE c;")


def test_roles_that_take_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "_LONGEST_SCRIPT", 1 << 20)
    with pytest.raises(UnreadableSet, match="its roles take more than 1 MiB"):
        parse_roles("CREATE ROLE reader;\n" * 100_000)


def test_existing_roles_do_not_change() -> None:
    statements = missing_roles(parse_roles(SCRIPT), {"postgres", "reader"})
    assert {statement.role for statement in statements} == {'the "shop"; owner'}
    assert statements[-1].text == 'GRANT reader TO "the ""shop""; owner" WITH ADMIN OPTION, INHERIT TRUE;'
    assert missing_roles(parse_roles(SCRIPT), {"postgres", "reader", 'the "shop"; owner'}) == ()


def test_keeps_a_comment_of_several_lines() -> None:
    comment = next(statement for statement in parse_roles(SCRIPT) if statement.verb == "COMMENT ON ROLE")
    assert "-- nor a remark';" in comment.text


def test_names_only_creates_roles_without_passwords_and_memberships() -> None:
    assert [statement.text for statement in names_only(missing_roles(parse_roles(SCRIPT), {"postgres", "reader"}))] == [
        'CREATE ROLE "the ""shop""; owner";'
    ]


def test_password_hashes_are_not_shown() -> None:
    assert "SCRAM" not in repr(parse_roles(SCRIPT))


def test_superusers_are_found() -> None:
    statements = parse_roles(SCRIPT)
    assert makes_superuser(statements, "postgres")
    for role in ('the "shop"; owner', "reader", "another"):
        assert not makes_superuser(statements, role)
    ordinary = [role for role in ("postgres", 'the "shop"; owner', "reader") if makes_ordinary(statements, role)]
    assert ordinary == ['the "shop"; owner']
