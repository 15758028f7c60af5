from dataclasses import replace
from typing import Any

import pytest

from jobs.backup.postgres.copies import refresh_comment
from jobs.backup.postgres.settings import (
    DatabaseProperties,
    admit_all_statements,
    admit_restore_statements,
    alter_statements,
    create_statement,
    create_statement_without_locale,
    require_valid_properties,
)

LIBC = DatabaseProperties("UTF8", "de_DE.UTF-8", "C", "libc", None, "owner", None, -1)
ICU = DatabaseProperties("UTF8", "C", "C", "icu", "de-x-icu", "owner", None, -1)
BUILTIN = DatabaseProperties("UTF8", "C", "C", "builtin", "C.UTF-8", "owner", None, -1)


@pytest.mark.parametrize(
    ("properties", "major", "locale"),
    [
        (LIBC, 13, "ENCODING 'UTF8' LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C'"),
        (LIBC, 16, "ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C'"),
        (ICU, 16, "ENCODING 'UTF8' LOCALE_PROVIDER icu LC_COLLATE 'C' LC_CTYPE 'C' ICU_LOCALE 'de-x-icu'"),
        (BUILTIN, 17, "ENCODING 'UTF8' LOCALE_PROVIDER builtin LC_COLLATE 'C' LC_CTYPE 'C' BUILTIN_LOCALE 'C.UTF-8'"),
    ],
)
def test_a_database_is_created_with_its_original_locale(
    properties: DatabaseProperties, major: int, locale: str
) -> None:
    assert (
        create_statement('the "shop"', properties, major)
        == f'CREATE DATABASE "the ""shop""" TEMPLATE template0 {locale}'
    )


def test_a_copy_is_closed_until_it_is_ready() -> None:
    assert create_statement("copy", LIBC, 13, closed=True).endswith("LC_CTYPE 'C' ALLOW_CONNECTIONS false")
    assert admit_restore_statements("copy", superuser=True) == (
        'ALTER DATABASE "copy" ALLOW_CONNECTIONS true CONNECTION LIMIT 0',
    )
    assert admit_restore_statements("copy", superuser=False) == (
        'REVOKE CONNECT ON DATABASE "copy" FROM PUBLIC',
        'ALTER DATABASE "copy" ALLOW_CONNECTIONS true',
    )


def test_a_ready_copy_is_open_to_all_whom_its_properties_allow() -> None:
    no_limit = 'ALTER DATABASE "copy" CONNECTION LIMIT -1'
    assert admit_all_statements("copy", LIBC, set(), superuser=True) == (no_limit,)
    assert admit_all_statements("copy", LIBC, set(), superuser=False) == (
        'GRANT CONNECT ON DATABASE "copy" TO PUBLIC',
        no_limit,
    )
    closed = replace(LIBC, privileges=('CONNECT TO "a"',))
    for superuser in (True, False):
        assert admit_all_statements("copy", closed, {"a"}, superuser=superuser) == (
            'REVOKE ALL ON DATABASE "copy" FROM PUBLIC',
            'GRANT CONNECT ON DATABASE "copy" TO "a"',
            no_limit,
        )


def test_a_copy_is_created_in_the_tablespace_of_the_database() -> None:
    statement = create_statement("copy", LIBC, 13, tablespace="fast disk", closed=True)
    assert statement.endswith("LC_CTYPE 'C' TABLESPACE \"fast disk\" ALLOW_CONNECTIONS false")


@pytest.mark.parametrize(
    ("major", "durable", "copies_files"), [(14, False, False), (15, False, True), (15, True, False), (18, False, True)]
)
def test_only_a_server_that_is_not_durable_copies_the_files_of_the_template(
    major: int, durable: bool, copies_files: bool
) -> None:
    for statement in (create_statement, create_statement_without_locale):
        created = statement("shop", LIBC, major, durable=durable)
        assert created.endswith(" STRATEGY file_copy") is copies_files
        assert ("STRATEGY" in created) is copies_files


def test_without_locale_only_the_encoding_is_kept() -> None:
    assert create_statement_without_locale("shop", ICU, 18) == (
        "CREATE DATABASE \"shop\" TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    )


def test_all_properties_are_set_except_those_for_missing_roles() -> None:
    properties = DatabaseProperties(
        "UTF8", "C", "C", "libc", None, "owner", "it's \\ ours", 42,
        ('search_path="$user", public, "a ""b"", c"', "app.key=x=y", '"a ""b""" work_mem=5MB', '"gone" work_mem=1MB'),
        ('CONNECT TO "a ""b""" WITH GRANT OPTION', 'CONNECT TO "gone"', "TEMPORARY TO PUBLIC"),
    )  # fmt: skip
    assert alter_statements("shop", properties, {"owner", 'a "b"'}) == (
        'ALTER DATABASE "shop" OWNER TO "owner"',
        "COMMENT ON DATABASE \"shop\" IS  E'it''s \\\\ ours'",
        'ALTER DATABASE "shop" CONNECTION LIMIT 42',
        "ALTER DATABASE \"shop\" SET \"search_path\" TO '$user', 'public', 'a \"b\", c'",
        'ALTER DATABASE "shop" SET "app"."key" TO \'x=y\'',
        'ALTER ROLE "a ""b""" IN DATABASE "shop" SET "work_mem" TO \'5MB\'',
        'REVOKE ALL ON DATABASE "shop" FROM PUBLIC, "owner"',
        'GRANT CONNECT ON DATABASE "shop" TO "a ""b""" WITH GRANT OPTION',
        'GRANT TEMPORARY ON DATABASE "shop" TO PUBLIC',
    )


def test_default_properties_need_no_statement() -> None:
    assert alter_statements("shop", LIBC, set()) == ()


def test_an_empty_list_is_set_as_an_empty_text() -> None:
    [statement] = alter_statements("shop", replace(LIBC, settings=("search_path=",)), set())
    assert statement == 'ALTER DATABASE "shop" SET "search_path" TO \'\''


def test_the_comment_of_a_refresh_is_not_set_on_another_database() -> None:
    assert alter_statements("shop", replace(LIBC, comment=refresh_comment("shop")), set()) == ()


def test_a_private_database_stays_closed_also_to_its_owner() -> None:
    private = replace(LIBC, private=True)
    assert alter_statements("shop", private, {"owner"}) == (
        'ALTER DATABASE "shop" OWNER TO "owner"',
        'REVOKE ALL ON DATABASE "shop" FROM PUBLIC, "owner"',
    )
    assert alter_statements("shop", private, set()) == ('REVOKE ALL ON DATABASE "shop" FROM PUBLIC',)


@pytest.mark.parametrize(
    "change",
    [
        {"privileges": ('CONNECT ON DATABASE "a"\nTO PUBLIC; ALTER ROLE b SUPERUSER; GRANT CONNECT TO PUBLIC',)},
        {"privileges": ('CONNECT TO "a"; ALTER ROLE b SUPERUSER',)},
        {"locale_provider": "libc; ALTER ROLE b SUPERUSER"},
    ],
)
def test_a_description_brings_no_statements_of_its_own(change: dict[str, Any]) -> None:
    assert require_valid_properties(replace(LIBC, privileges=('CONNECT TO "a ""b""" WITH GRANT OPTION',)))
    with pytest.raises(ValueError, match="not valid"):
        require_valid_properties(replace(LIBC, **change))
