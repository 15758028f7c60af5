from jobs.backup.restore.roles import makes_ordinary, makes_superuser, missing_roles, names_only, parse_roles

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


def test_existing_roles_do_not_change() -> None:
    statements = missing_roles(SCRIPT, {"postgres", "reader"})
    assert {statement.role for statement in statements} == {'the "shop"; owner'}
    assert statements[-1].text == 'GRANT reader TO "the ""shop""; owner" WITH ADMIN OPTION, INHERIT TRUE;'
    assert missing_roles(SCRIPT, {"postgres", "reader", 'the "shop"; owner'}) == ()


def test_keeps_a_comment_of_several_lines() -> None:
    comment = next(statement for statement in parse_roles(SCRIPT) if statement.verb == "COMMENT ON ROLE")
    assert "-- nor a remark';" in comment.text


def test_names_only_creates_roles_without_passwords_and_memberships() -> None:
    assert [statement.text for statement in names_only(missing_roles(SCRIPT, {"postgres", "reader"}))] == [
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
