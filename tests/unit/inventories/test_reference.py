"""The reference of all keys is an environment file itself."""

from __future__ import annotations

import re
import tomllib

import pytest

from inventories import Environment, reference
from inventories.reading import ListOf, NamedTables, TableOf, ValueType, keys_of
from tests.unit.inventories.conftest import Reading


def test_it_can_be_read(read: Reading) -> None:
    environment = read(reference())
    assert environment.protected
    assert environment.stacks["cluster"].after == ("network",)


def test_it_has_every_key_of_every_type() -> None:
    document = tomllib.loads(re.sub(r"(?m)^# lock = .*", 'lock = "file"', reference()))
    assert set(_missing(TableOf(Environment), document)) == set()


def _missing(kind: ValueType[object], value: object) -> list[str]:
    while isinstance(kind, NamedTables | ListOf) and isinstance(kind.of, TableOf):
        value = next(iter(value.values() if isinstance(value, dict) else value))  # type: ignore[call-overload]
        kind = kind.of
    if not isinstance(kind, TableOf):
        return []
    assert isinstance(value, dict)
    keys = keys_of(kind.type)
    missing = [f"{kind.type.__name__}.{one.toml}" for one in keys if one.toml not in value]
    return missing + [name for one in keys if one.toml in value for name in _missing(one.kind, value[one.toml])]


@pytest.mark.parametrize(
    "line",
    [
        '# schedules and calendar buckets are read in it (a timezone, such as "Europe/Berlin"; else "UTC")',
        "# streams at once (1 to 64; else 2)",
        "# row counts in the manifest, for verification to compare (true or false; else true)",
        "# for a month (a number above 0; needed)",
        '# lock = "file"',
        "[servers.main.keep]",
        "[[drift.ignore]]",
    ],
)
def test_it_tells_kind_default_and_meaning(line: str) -> None:
    assert line in reference().splitlines()


def test_it_explains_a_key_once() -> None:
    comments = [line for line in reference().splitlines() if line.startswith("# streams at once")]
    assert len(comments) == 1
