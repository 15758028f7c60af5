"""Which statements create and update the extensions of a database."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.lib.postgres.extensions import (
    AvailableExtension,
    DesiredExtension,
    ExtensionMissing,
    desired_extensions,
    extension_packages,
    extension_statements,
    faults,
)


def offered(installed: str = "", own_schema: str = "", requires: tuple[str, ...] = ()) -> AvailableExtension:
    return AvailableExtension(installed, "1.5", own_schema, requires, has_update=installed == "1.4")


AVAILABLE = {
    "cube": offered(),
    "earthdistance": offered(requires=("cube",)),
    "pg_cron": offered(own_schema="pg_catalog"),
    "old": offered("1.4"),
    "new": offered("1.5"),
    "newer": offered("1.6"),
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], []),
        (["cube"], ['CREATE EXTENSION "cube" SCHEMA "public"']),
        (
            ["earthdistance", "cube"],
            ['CREATE EXTENSION "cube" SCHEMA "public"', 'CREATE EXTENSION "earthdistance" SCHEMA "public"'],
        ),
        (["pg_cron"], ['CREATE EXTENSION "pg_cron"']),
        (["old", "new", "newer"], ["ALTER EXTENSION \"old\" UPDATE TO '1.5'"]),
        (
            [{"name": "cube", "schema": "geo"}],
            [
                'CREATE SCHEMA IF NOT EXISTS "geo" AUTHORIZATION pg_database_owner',
                'CREATE EXTENSION "cube" SCHEMA "geo"',
            ],
        ),
    ],
)
def test_a_database_gets_only_the_statements_that_it_needs(wanted: list[Any], expected: list[str]) -> None:
    desired = desired_extensions({"shop": wanted})["shop"]
    assert list(extension_statements(desired, AVAILABLE)) == expected


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        (DesiredExtension("vector"), 'vector is not installed; name its package: {"name": "vector", "package": "…"}'),
        (DesiredExtension("vector", "pgvctr"), "vector is not in the package pgvctr; check both names"),
        (DesiredExtension("topology"), "postgis, which topology requires, is not installed"),
    ],
)
def test_an_extension_that_the_server_lacks_is_named(extension: DesiredExtension, expected: str) -> None:
    available = {"topology": offered(requires=("postgis",))}
    with pytest.raises(ExtensionMissing) as missing:
        list(extension_statements([extension], available))
    assert str(missing.value).startswith(expected)


def test_packages_are_those_of_the_servers_version() -> None:
    given = {"shop": ["cube", {"name": "vector", "package": "pgvector"}], "ada": [{"name": "v", "package": "pgvector"}]}
    assert extension_packages(desired_extensions(given), 17) == ["postgresql-17-pgvector"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"shop": ["uuid-ossp"], "postgres": [{"name": "pg_cron", "package": "cron"}]}, []),
        (["cube"], ['write a list per database, such as {"shop": ["pgcrypto"]}']),
        ({"shop": "cube"}, ['write a list per database, such as {"shop": ["pgcrypto"]}']),
        ({"sohp": ["cube"]}, ["sohp is not in postgres_databases; add it"]),
        ({"shop": ["cube", {"name": "cube"}]}, ["shop: cube is listed twice; keep one"]),
        (
            {"shop": ['cube"; DROP']},
            [
                'shop: \'cube"; DROP\' is not an extension; write "pgcrypto" or '
                '{"name": "vector", "package": "pgvector"}'
            ],
        ),
        (
            {"shop": [{"name": "v", "package": "postgresql-15-v", "schema": "pg_x", "version": 1}]},
            [
                "shop: v: no such key: version; allowed: name, package, schema",
                "shop: v: package: 'postgresql-15-v' is not allowed; write \"pgvector\" for the package "
                "postgresql-15-pgvector",
                "shop: v: schema: 'pg_x' is not allowed; use a-z, 0-9, - and _, with a letter first",
            ],
        ),
    ],
)
def test_each_mistake_in_group_data_is_a_fault(given: Any, expected: list[str]) -> None:
    assert list(faults(given, ["shop"])) == [f"postgres_extensions: {fault}" for fault in expected]
