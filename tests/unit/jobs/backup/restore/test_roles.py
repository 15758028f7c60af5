from jobs.backup.restore.roles import bare, for_missing, statements

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
GRANT reader TO "the ""shop""; owner" WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;
GRANT pg_read_all_data TO postgres;
-- the end
\unrestrict abc
"""


def test_a_script_is_taken_apart_at_the_semicolons_that_stand_in_no_quotes() -> None:
    assert [(one.verb, one.role) for one in statements(SCRIPT)] == [
        ("CREATE ROLE", "postgres"),
        ("ALTER ROLE", "postgres"),
        ("CREATE ROLE", 'the "shop"; owner'),
        ("ALTER ROLE", 'the "shop"; owner'),
        ("COMMENT ON ROLE", 'the "shop"; owner'),
        ("CREATE ROLE", "reader"),
        ("ALTER ROLE", "reader"),
        ("GRANT", 'the "shop"; owner'),
        ("GRANT", "postgres"),
    ]
    assert statements("") == ()


def test_roles_that_exist_are_left_alone() -> None:
    found = for_missing(SCRIPT, {"postgres", "reader"})
    assert {one.role for one in found} == {'the "shop"; owner'}
    assert found[-1].text == 'GRANT reader TO "the ""shop""; owner" WITH ADMIN OPTION, INHERIT TRUE;'
    assert for_missing(SCRIPT, {"postgres", "reader", 'the "shop"; owner'}) == ()


def test_a_comment_of_several_lines_stays_whole() -> None:
    comment = next(one for one in statements(SCRIPT) if one.verb == "COMMENT ON ROLE")
    assert "-- nor a remark';" in comment.text


def test_bare_roles_have_nothing_but_a_name() -> None:
    assert [one.text for one in bare(for_missing(SCRIPT, {"postgres", "reader"}))] == [
        'CREATE ROLE "the ""shop""; owner";'
    ]


def test_hashes_of_passwords_are_not_shown() -> None:
    assert "SCRAM" not in repr(statements(SCRIPT))
