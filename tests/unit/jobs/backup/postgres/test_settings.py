import pytest

from jobs.backup.postgres.settings import create, create_plain, give, limit
from jobs.backup.sets.manifest import Settings

LIBC = Settings("UTF8", "de_DE.UTF-8", "C", "libc", None, "owner", None, -1)
ICU = Settings("UTF8", "C", "C", "icu", "de-x-icu", "owner", None, -1)
BUILTIN = Settings("UTF8", "C", "C", "builtin", "C.UTF-8", "owner", None, -1)


@pytest.mark.parametrize(
    ("settings", "major", "locale"),
    [
        (LIBC, 13, "ENCODING 'UTF8' LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C'"),
        (LIBC, 16, "ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C'"),
        (ICU, 16, "ENCODING 'UTF8' LOCALE_PROVIDER icu LC_COLLATE 'C' LC_CTYPE 'C' ICU_LOCALE 'de-x-icu'"),
        (BUILTIN, 17, "ENCODING 'UTF8' LOCALE_PROVIDER builtin LC_COLLATE 'C' LC_CTYPE 'C' BUILTIN_LOCALE 'C.UTF-8'"),
    ],
)
def test_a_database_is_made_with_the_locale_that_it_had(settings: Settings, major: int, locale: str) -> None:
    assert create('the "shop"', settings, major) == f'CREATE DATABASE "the ""shop""" TEMPLATE template0 {locale}'


def test_a_copy_is_closed_until_it_is_ready() -> None:
    assert create("copy", LIBC, 13, closed=True).endswith("LC_CTYPE 'C' CONNECTION LIMIT 0")
    assert limit("copy", LIBC) == 'ALTER DATABASE "copy" CONNECTION LIMIT -1'


def test_a_plain_database_asks_for_nothing_a_server_may_lack() -> None:
    assert create_plain("shop", ICU, 18) == (
        "CREATE DATABASE \"shop\" TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    )


def test_all_that_hangs_on_a_database_is_given_unless_it_names_a_role_that_is_not_there() -> None:
    settings = Settings(
        "UTF8", "C", "C", "libc", None, "owner", "it's \\ ours", 42,
        ('search_path="$user", public, "a ""b"", c"', "app.key=x=y", '"a ""b""" work_mem=5MB', '"gone" work_mem=1MB'),
        ('CONNECT TO "a ""b""" WITH GRANT OPTION', 'CONNECT TO "gone"', "TEMPORARY TO PUBLIC"),
    )  # fmt: skip
    assert give("shop", settings, {"owner", 'a "b"'}) == (
        'ALTER DATABASE "shop" OWNER TO "owner"',
        "COMMENT ON DATABASE \"shop\" IS  E'it''s \\\\ ours'",
        'ALTER DATABASE "shop" CONNECTION LIMIT 42',
        "ALTER DATABASE \"shop\" SET \"search_path\" TO '$user', 'public', 'a \"b\", c'",
        'ALTER DATABASE "shop" SET "app"."key" TO \'x=y\'',
        'ALTER ROLE "a ""b""" IN DATABASE "shop" SET "work_mem" TO \'5MB\'',
        'REVOKE ALL ON DATABASE "shop" FROM PUBLIC',
        'GRANT CONNECT ON DATABASE "shop" TO "a ""b""" WITH GRANT OPTION',
        'GRANT TEMPORARY ON DATABASE "shop" TO PUBLIC',
    )


def test_a_database_nobody_touched_is_given_nothing() -> None:
    assert give("shop", LIBC, set()) == ()
    assert "SET \"search_path\" TO ''" in give("shop", Settings(*_first_eight(LIBC), ("search_path=",)), set())[0]


def _first_eight(settings: Settings) -> tuple[object, ...]:
    return tuple(getattr(settings, name) for name in list(Settings.__dataclass_fields__)[:8])
