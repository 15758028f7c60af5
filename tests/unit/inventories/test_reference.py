"""The reference of all keys is a valid environment file."""

from __future__ import annotations

import re
import tomllib

import pytest

from inventories import Environment, reference
from inventories.reading import ListOf, NamedTables, TableOf, ValueType, keys_of
from tests.unit.inventories.conftest import Reading


def test_the_reader_accepts_it(read: Reading) -> None:
    environment = read(reference())
    assert environment.protected
    assert environment.stacks["cluster"].after == ("network",)


def test_it_has_every_key_of_every_type() -> None:
    document = tomllib.loads(re.sub(r"(?m)^# lock = .*", 'lock = "file"', reference()))
    assert set(_missing(TableOf(Environment), document)) == set()


def _missing(kind: ValueType[object], value: object) -> list[str]:
    while isinstance(kind, NamedTables | ListOf) and isinstance(kind.item_type, TableOf):
        value = next(iter(value.values() if isinstance(value, dict) else value))  # type: ignore[call-overload]
        kind = kind.item_type
    if not isinstance(kind, TableOf):
        return []
    assert isinstance(value, dict)
    keys = keys_of(kind.type)
    missing = [f"{kind.type.__name__}.{one.toml}" for one in keys if one.toml not in value]
    return missing + [name for one in keys if one.toml in value for name in _missing(one.value_type, value[one.toml])]


@pytest.mark.parametrize(
    "line",
    [
        "# Timezone of schedules and of the days, weeks and months of retention"
        ' (a timezone, such as "Europe/Berlin"; default: "UTC")',
        '# Public keys that backups are encrypted for, as age-keygen prints them (["age1…", …], or "nobody" to disable'
        " encryption; required)",
        "# Number of parallel streams (1 to 64; default: 2)",
        '# AWS region of the bucket (an AWS region, or ""; default: none)',
        "# Monthly budget (a number above 0; required)",
        '# lock = "file"',
        "[servers.main.keep]",
        "[[drift.ignore]]",
    ],
)
def test_each_key_has_meaning_type_and_default(line: str) -> None:
    assert line in reference().splitlines()


def test_each_key_is_explained_once() -> None:
    comments = [line for line in reference().splitlines() if line.startswith("# Number of parallel streams")]
    assert len(comments) == 1
