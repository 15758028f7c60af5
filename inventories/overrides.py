"""GROUNDCREW__SECTION__KEY in the process environment: one value of a file, said otherwise for this once.

A name is found whatever its case, and each character of it that no variable can have is written as _:
`keep.daily` of `[databases.my-shop]` is GROUNDCREW__DATABASES__MY_SHOP__KEEP__DAILY. The value is read
as TOML has it (3, true, ["a"], { env = "X" }), and as plain text where that is no TOML or not what the
key wants. It holds for every environment that the program reads, except for those that lack the table
it is about while another one has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories.reading import (
    InvalidValue,
    Key,
    KeyPath,
    NamedTables,
    Position,
    TableOf,
    ValuesByName,
    ValueType,
    as_written,
    keys_of,
    suggestion,
    toml_path,
)

PREFIX = "GROUNDCREW__"


@dataclass(frozen=True, slots=True)
class Override:
    """A variable, the path of the key it sets, and what it sets it to."""

    variable: str
    path: KeyPath
    value: object

    def covers(self, path: KeyPath) -> bool:
        """Whether what lies at this path comes from the variable."""
        return path[: len(self.path)] == self.path

    def fault(self, path: KeyPath, text: str) -> str:
        """The line for a fault at a path it covers: it names the variable, and not its value."""
        for scalar in sorted(map(as_written, _scalars(self.value)), key=len, reverse=True):
            if text.startswith(scalar):
                text = f"its value{text[len(scalar) :]}"
                break
        deeper = path[len(self.path) :]
        return f"{self.variable}: {toml_path(deeper)}: {text}" if deeper else f"{self.variable}: {text}"


def apply_overrides(
    document: dict[str, Any], kind: ValueType[Any], variables: Mapping[str, str]
) -> tuple[list[Override], dict[str, str]]:
    """Set in the document what the variables say; what was set, and a line for each variable that fits nothing."""
    done: list[Override] = []
    faults: dict[str, str] = {}
    for variable in sorted(name for name in variables if name.startswith(PREFIX)):
        parts = variable.removeprefix(PREFIX).split("__")
        try:
            done.append(_set(document, kind, variable, parts, variables[variable]))
        except InvalidValue as wrong:
            faults[variable] = f"{variable}: {wrong}"
    return done, faults


def _set(table: Any, kind: ValueType[Any], variable: str, parts: list[str], text: str) -> Override:
    path: KeyPath = ()
    for part in parts[:-1]:
        name, kind = _step(kind, part, table)
        path = (*path, name)
        table = table.setdefault(name, {}) if isinstance(table, dict) else {}
    name, kind = _step(kind, parts[-1], table)
    value = _value(text, kind)
    if isinstance(table, dict):  # if not, the file itself is wrong there, and says so
        table[name] = value
    return Override(variable, (*path, name), value)


def _step(kind: ValueType[Any], part: str, table: object) -> tuple[str, ValueType[Any]]:
    below = _below(kind, table)
    if below is None:
        raise InvalidValue(f"{part} goes too deep: what is above it is a single value; set that")
    found = {name: one for name, one in below.items() if _folded(name) == _folded(part)}
    if len(found) > 1:
        raise InvalidValue(f"{part} could be any of {', '.join(found)}; rename all but one of them in the file")
    if not found:
        known = [_folded(name).upper() for name in below]
        raise InvalidValue(
            f"there is no {part} to override; {suggestion(part, known) if known else 'the file has none'}"
        )
    return found.popitem()


def _below(kind: ValueType[Any], table: object) -> Mapping[str, ValueType[Any]] | None:
    there: Iterable[str] = table if isinstance(table, dict) else ()
    if isinstance(kind, TableOf):
        keys: tuple[Key, ...] = keys_of(kind.type)
        return {one.toml: one.kind for one in keys}
    if isinstance(kind, NamedTables):
        return dict.fromkeys(there, kind.of)
    if isinstance(kind, ValuesByName):
        return dict.fromkeys(kind.names or there, kind.of)
    return None


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.casefold())


def _value(text: str, kind: ValueType[Any]) -> object:
    typed = _as_toml(text)
    return text if not _fits(typed, kind) and _fits(text, kind) else typed


def _as_toml(text: str) -> object:
    import tomllib

    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return read["value"] if len(read) == 1 else text


def _fits(value: object, kind: ValueType[Any]) -> bool:
    place = Position("", Path())
    try:
        kind.read(value, place)
    except InvalidValue:
        return False
    return not place.faults


def _scalars(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _scalars(one)
    yield value
