"""Read a TOML table into a typed object and collect every fault with the path of its key.

This is not a library such as pydantic for three reasons. Each fault must name the remedy and must not show a rejected
value that can be a password. The same definitions produce the reference and the overrides from the environment. And
`crew --help` must answer in 0.2 s, which leaves no time to import a large library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from inventories.printable import printable
from inventories.secret import redact

T = TypeVar("T")
KeyPath = tuple[str, ...]

MAX_LENGTH = 60
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
NAME_RULE = "use letters, digits, - and _, at most 63, the first a letter or a digit"


class InvalidValue(Exception):
    """A value that a key does not accept. The message is the fact and the remedy."""


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a file, and the list of all faults found so far."""

    file: str
    folder: Path
    path: KeyPath = ()
    faults: list[tuple[KeyPath, str]] = field(default_factory=list)

    def child(self, key: str) -> Position:
        """Return the position of a key in the table at this position."""
        return Position(self.file, self.folder, (*self.path, key), self.faults)

    def add_fault(self, text: str) -> None:
        """Add a fault at this position."""
        self.faults.append((self.path, text))

    def __str__(self) -> str:
        return f"{self.file}: {toml_path(self.path)}"


class ValueType(Generic[T]):
    """A type of value: its description, and how to read it."""

    description: str

    def read(self, value: object, position: Position) -> T:
        """Return the value as an object; raise InvalidValue if it is not valid."""
        raise NotImplementedError


@dataclass(frozen=True)
class Scalar(ValueType[T]):
    """A single value whose meaning does not depend on its position."""

    description: str
    parse: Callable[[object], T]

    def read(self, value: object, position: Position) -> T:  # noqa: ARG002
        """Return the value as an object."""
        return self.parse(value)


@dataclass(frozen=True)
class Key:
    """One key of a table: its value type, its meaning, its default and an example."""

    toml: str
    attribute: str
    value_type: ValueType[Any]
    meaning: str
    example: str
    required: bool
    default: object
    commented: bool


REQUIRED: Any = object()


def toml_key(
    value_type: ValueType[Any],
    meaning: str,
    *,
    example: str = "",
    default: Any = REQUIRED,
    toml: str = "",
    commented: bool = False,
) -> Any:
    """Return a dataclass field that is read from a key. The default is written as in a file; None means no value."""
    metadata = {"key": (toml, value_type, meaning, example, default, commented)}
    if default is REQUIRED:
        return field(metadata=metadata)
    return field(metadata=metadata, default_factory=lambda: default_of(value_type, default))


def default_of(value_type: ValueType[T], default: object) -> T | None:
    """Return the value of an attribute whose key is missing."""
    return None if default is None else value_type.read(default, Position("default", Path()))


def keys_of(table: type) -> tuple[Key, ...]:
    """Return all keys of a table, in the order of its fields."""
    return tuple(_keys(table))


def _keys(table: type) -> Iterator[Key]:
    for attribute in fields(table):
        if "key" in attribute.metadata:
            toml, value_type, meaning, example, default, commented = attribute.metadata["key"]
            name, required = attribute.name, default is REQUIRED
            yield Key(toml or name, name, value_type, meaning, example, required, default, commented)


@dataclass(frozen=True)
class TableOf(ValueType[T]):
    """A table with the keys of a dataclass."""

    type: type[T]
    description: str = "a table"

    def read(self, value: object, position: Position, **more: Any) -> T:
        """Return the table as an object. A key with a fault gets its default, and the fault is added."""
        table = expect_table(value, position)
        known = {key.toml: key for key in keys_of(self.type)}
        for name in table:
            if name not in known:
                position.child(name).add_fault(f"unknown key; {suggestion(name, known)}")
        values = {key.attribute: _read_key(key, table, position) for key in known.values()}
        return self.type(**values, **more)


def _read_key(key: Key, table: Mapping[str, object], position: Position) -> Any:
    child = position.child(key.toml)
    if key.toml in table:
        try:
            return key.value_type.read(table[key.toml], child)
        except InvalidValue as error:
            child.add_fault(str(error))
    elif key.required:
        child.add_fault(f"is missing; add {_typed(key)}")
    return default_of(key.value_type, None if key.required else key.default)


def _typed(key: Key) -> str:
    if isinstance(key.value_type, TableOf):
        return f"[{key.toml}] with {key.example}"
    description = key.value_type.description
    example = "" if key.example in description else f", such as {key.example}"
    return f"{key.toml}: {description}{example}"


@dataclass(frozen=True)
class NamedTables(ValueType[Mapping[str, T]]):
    """Tables of one type, each under a name that the user chooses; the object gets it as `name`."""

    item_type: TableOf[T]
    example_names: tuple[str, ...]
    description: str = "tables by name"

    def read(self, value: object, position: Position) -> Mapping[str, T]:
        """Return the tables by name, without entries that are not tables."""
        tables: dict[str, T] = {}
        for name, table in expect_table(value, position).items():
            child = position.child(name)
            if not NAME.fullmatch(name):
                child.add_fault(f"{as_written(name)} is not a name; {NAME_RULE}")
            try:
                tables[name] = self.item_type.read(table, child, name=name)
            except InvalidValue as error:
                child.add_fault(str(error))
        return MappingProxyType(tables)


@dataclass(frozen=True)
class ValuesByName(ValueType[Mapping[str, T]]):
    """Values of one type by name. If `names` is set, the file can only use these names."""

    description: str
    item_type: ValueType[T]
    names: tuple[str, ...] = ()

    def read(self, value: object, position: Position) -> Mapping[str, T]:
        """Return the valid values by name."""
        values: dict[str, T] = {}
        for name, item in expect_table(value, position).items():
            child = position.child(name)
            if self.names and name not in self.names:
                child.add_fault(f"unknown job; {suggestion(name, self.names)}")
                continue
            try:
                values[name] = self.item_type.read(item, child)
            except InvalidValue as error:
                child.add_fault(str(error))
        return MappingProxyType(values)


@dataclass(frozen=True)
class ListOf(ValueType[tuple[T, ...]]):
    """A list of values of one type."""

    description: str
    item_type: ValueType[T]

    def read(self, value: object, position: Position) -> tuple[T, ...]:
        """Return the valid values in order. The path of a fault contains its number in the list, from 1."""
        if not isinstance(value, list):
            raise InvalidValue(f"this is not a list; use {self.description}")
        items: list[T] = []
        for number, item in enumerate(value, start=1):
            child = position.child(str(number))
            try:
                items.append(self.item_type.read(item, child))
            except InvalidValue as error:
                child.add_fault(str(error))
        return tuple(items)


def expect_table(value: object, position: Position) -> dict[str, object]:
    """Return the value if it is a table; raise InvalidValue if it is not."""
    if isinstance(value, dict):
        return value
    in_a_list = position.path and position.path[-1].isdigit()
    raise InvalidValue(
        "this is not a table; write it in braces, as { key = value }"
        if in_a_list
        else f"this is not a table; write it as [{toml_path(position.path)}], with its keys below"
    )


def suggestion(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """Return a hint for an unknown name: the most similar known name, or all known names."""
    from difflib import get_close_matches

    by_lower = {known_name.lower(): known_name for known_name in known}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return f"did you mean {by_lower[matches[0]]}?" if matches else f"use one of: {', '.join(known)}"


def as_written(value: object) -> str:
    """Return a value as written in a file, on one line, shortened and without passwords."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f'"{_short(printable(redact(value)))}"'
    return _short(_digits(value))


def _digits(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # Python does not convert integers with thousands of digits
        return "a number with thousands of digits"


def _short(text: str) -> str:
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"


def toml_path(path: KeyPath) -> str:
    """Return a path of keys as TOML writes it, with quotes where a name needs them."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{_short(printable(part))}"' for part in path)
