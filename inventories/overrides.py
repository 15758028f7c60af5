"""Override values of an environment file with environment variables named GROUNDCREW__SECTION__KEY.

Case does not matter, and _ stands for each character that a variable name cannot contain:
GROUNDCREW__DATABASES__MY_SHOP__KEEP__DAILY sets `keep.daily` of `[databases.my-shop]`. The value is read as TOML
(3, true, ["a"], { env = "X" }). A value that is not TOML, or whose TOML type does not match the key, is read as text.

A variable applies to every environment that crew reads. An environment without the table ignores the variable, as long
as another environment has the table.
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
    """A variable, the path of the key that it sets, and the new value."""

    variable: str
    path: KeyPath
    value: object

    def covers(self, path: KeyPath) -> bool:
        """Return whether the value at this path comes from the variable."""
        return path[: len(self.path)] == self.path

    def fault(self, path: KeyPath, text: str) -> str:
        """Return the line for a fault in the value of the variable; it names the variable and hides the value."""
        for scalar in sorted(map(as_written, _scalars(self.value)), key=len, reverse=True):
            if text.startswith(scalar):
                text = f"its value{text[len(scalar) :]}"
                break
        deeper = path[len(self.path) :]
        return f"{self.variable}: {toml_path(deeper)}: {text}" if deeper else f"{self.variable}: {text}"


def apply_overrides(
    document: dict[str, Any], value_type: ValueType[Any], variables: Mapping[str, str]
) -> tuple[list[Override], dict[str, str]]:
    """Set the values of the variables in the document.

    Return the overrides, and the fault of each variable that matches no key.
    """
    overrides: list[Override] = []
    faults: dict[str, str] = {}
    for variable in sorted(name for name in variables if name.startswith(PREFIX)):
        parts = variable.removeprefix(PREFIX).split("__")
        try:
            overrides.append(_set(document, value_type, variable, parts, variables[variable]))
        except InvalidValue as error:
            faults[variable] = f"{variable}: {error}"
    return overrides, faults


def _set(table: Any, value_type: ValueType[Any], variable: str, parts: list[str], text: str) -> Override:
    path: KeyPath = ()
    for part in parts[:-1]:
        name, value_type = _step(value_type, part, table)
        path = (*path, name)
        table = table.setdefault(name, {}) if isinstance(table, dict) else {}
    name, value_type = _step(value_type, parts[-1], table)
    value = _value(text, value_type)
    if isinstance(table, dict):  # otherwise the file has a fault here, which is reported
        table[name] = value
    return Override(variable, (*path, name), value)


def _step(value_type: ValueType[Any], part: str, table: object) -> tuple[str, ValueType[Any]]:
    below = _below(value_type, table)
    if below is None:
        raise InvalidValue(f"{part} does not exist, because its parent is a single value; set the parent")
    matches = {name: below_type for name, below_type in below.items() if _folded(name) == _folded(part)}
    if len(matches) > 1:
        raise InvalidValue(
            f"{part} matches several names ({', '.join(matches)}); rename all but one of them in the file"
        )
    if not matches:
        known = [_folded(name).upper() for name in below]
        raise InvalidValue(
            f"{part} does not exist; {suggestion(part, known) if known else 'the table is empty in this file'}"
        )
    return matches.popitem()


def _below(value_type: ValueType[Any], table: object) -> Mapping[str, ValueType[Any]] | None:
    names: Iterable[str] = table if isinstance(table, dict) else ()
    if isinstance(value_type, TableOf):
        keys: tuple[Key, ...] = keys_of(value_type.type)
        return {key.toml: key.value_type for key in keys}
    if isinstance(value_type, NamedTables):
        return dict.fromkeys(names, value_type.item_type)
    if isinstance(value_type, ValuesByName):
        return dict.fromkeys(value_type.names or names, value_type.item_type)
    return None


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.casefold())


def _value(text: str, value_type: ValueType[Any]) -> object:
    typed = _as_toml(text)
    return text if not _fits(typed, value_type) and _fits(text, value_type) else typed


def _as_toml(text: str) -> object:
    import tomllib

    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return read["value"] if len(read) == 1 else text


def _fits(value: object, value_type: ValueType[Any]) -> bool:
    position = Position("", Path())
    try:
        value_type.read(value, position)
    except InvalidValue:
        return False
    return not position.faults


def _scalars(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    yield value
