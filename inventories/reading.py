"""How a file becomes objects: every key knows its kind, every kind reads a value or says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from inventories.secret import redact

T = TypeVar("T")
KeyPath = tuple[str, ...]

LONGEST_SHOWN = 60
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
NAME_RULE = "use letters, digits, - and _, at most 63, the first a letter or a digit"


class InvalidValue(Exception):
    """A value that a key can't have. The message is the fact and the way out."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a file the reader is, and the list on which faults are put."""

    file: str
    folder: Path
    path: KeyPath = ()
    faults: list[tuple[KeyPath, str]] = field(default_factory=list)

    def at(self, key: str) -> Position:
        """The place one key deeper."""
        return Position(self.file, self.folder, (*self.path, key), self.faults)

    def wrong(self, text: str) -> None:
        """Note a fault here."""
        self.faults.append((self.path, text))

    def __str__(self) -> str:
        return f"{self.file}: {toml_path(self.path)}"


class ValueType(Generic[T]):
    """A kind of value: what it is in words, and how it is read."""

    words: str

    def read(self, value: object, place: Position) -> T:
        """The value as an object; Wrong if it can't be."""
        raise NotImplementedError


@dataclass(frozen=True)
class Scalar(ValueType[T]):
    """A single value, that means the same wherever it stands."""

    words: str
    parse: Callable[[object], T]

    def read(self, value: object, place: Position) -> T:  # noqa: ARG002
        """The value as an object."""
        return self.parse(value)


@dataclass(frozen=True)
class Key:
    """One key of a table: its kind, what it means, and an example as it would be typed."""

    toml: str
    attribute: str
    kind: ValueType[Any]
    means: str
    example: str
    needed: bool
    default: object
    commented: bool


REQUIRED: Any = object()


def toml_key(
    kind: ValueType[Any],
    means: str,
    *,
    example: str = "",
    default: Any = REQUIRED,
    toml: str = "",
    commented: bool = False,
) -> Any:
    """A field that is read from a key. Its default is written as in a file; None is for left out."""
    metadata = {"key": (toml, kind, means, example, default, commented)}
    if default is REQUIRED:
        return field(metadata=metadata)
    return field(metadata=metadata, default_factory=lambda: default_of(kind, default))


def default_of(kind: ValueType[T], default: object) -> T | None:
    """What an attribute is when its key is left out."""
    return None if default is None else kind.read(default, Position("default", Path()))


def keys_of(table: type) -> tuple[Key, ...]:
    """All keys of a table, in the order of its type."""
    return tuple(_keys(table))


def _keys(table: type) -> Iterator[Key]:
    for one in fields(table):
        if "key" in one.metadata:
            toml, kind, means, example, default, commented = one.metadata["key"]
            yield Key(toml or one.name, one.name, kind, means, example, default is REQUIRED, default, commented)


@dataclass(frozen=True)
class TableOf(ValueType[T]):
    """A table with the keys of a type."""

    type: type[T]
    words: str = "a table"

    def read(self, value: object, place: Position, **more: Any) -> T:
        """The table as an object; what is wrong inside is noted, and read as if it were left out."""
        table = expect_table(value, place)
        known = {one.toml: one for one in keys_of(self.type)}
        for name in table:
            if name not in known:
                place.at(name).wrong(f"there is no such key; {suggestion(name, known)}")
        read = {one.attribute: _read_key(one, table, place) for one in known.values()}
        return self.type(**read, **more)


def _read_key(one: Key, table: Mapping[str, object], place: Position) -> Any:
    here = place.at(one.toml)
    if one.toml in table:
        try:
            return one.kind.read(table[one.toml], here)
        except InvalidValue as wrong:
            here.wrong(str(wrong))
    elif one.needed:
        here.wrong(f"is missing; add {_as_typed(one)}")
    return default_of(one.kind, None if one.needed else one.default)


def _as_typed(one: Key) -> str:
    if isinstance(one.kind, TableOf):
        return f"[{one.toml}] with {one.example}"
    example = "" if one.example in one.kind.words else f", such as {one.example}"
    return f"{one.toml}: {one.kind.words}{example}"


@dataclass(frozen=True)
class NamedTables(ValueType[Mapping[str, T]]):
    """Tables of one type, each under a name of the user's choice, which it knows as `name`."""

    of: TableOf[T]
    example_names: tuple[str, ...]
    words: str = "tables by name"

    def read(self, value: object, place: Position) -> Mapping[str, T]:
        """The tables by name; one that is no table at all is noted and left out."""
        read: dict[str, T] = {}
        for name, table in expect_table(value, place).items():
            here = place.at(name)
            if not NAME.fullmatch(name):
                here.wrong(f"{as_written(name)} is not a name; {NAME_RULE}")
            try:
                read[name] = self.of.read(table, here, name=name)
            except InvalidValue as wrong:
                here.wrong(str(wrong))
        return MappingProxyType(read)


@dataclass(frozen=True)
class ValuesByName(ValueType[Mapping[str, T]]):
    """Values of one kind under names, of which the file may have only `names` if there are any."""

    words: str
    of: ValueType[T]
    names: tuple[str, ...] = ()

    def read(self, value: object, place: Position) -> Mapping[str, T]:
        """The values by name; each fault is noted at its own."""
        read: dict[str, T] = {}
        for name, one in expect_table(value, place).items():
            here = place.at(name)
            if self.names and name not in self.names:
                here.wrong(f"there is no such job; {suggestion(name, self.names)}")
                continue
            try:
                read[name] = self.of.read(one, here)
            except InvalidValue as wrong:
                here.wrong(str(wrong))
        return MappingProxyType(read)


@dataclass(frozen=True)
class ListOf(ValueType[tuple[T, ...]]):
    """A list of values of one kind."""

    words: str
    of: ValueType[T]

    def read(self, value: object, place: Position) -> tuple[T, ...]:
        """The values in order; each fault is noted with its number, counted from 1."""
        if not isinstance(value, list):
            raise InvalidValue(f"this is not a list; use {self.words}")
        read: list[T] = []
        for number, one in enumerate(value, start=1):
            here = place.at(str(number))
            try:
                read.append(self.of.read(one, here))
            except InvalidValue as wrong:
                here.wrong(str(wrong))
        return tuple(read)


def expect_table(value: object, place: Position) -> dict[str, object]:
    """The value, if it is a table."""
    if isinstance(value, dict):
        return value
    in_a_list = place.path and place.path[-1].isdigit()
    raise InvalidValue(
        "this is not a table; write it in braces, as { key = value }"
        if in_a_list
        else f"this is not a table; write it as [{toml_path(place.path)}], with its keys below"
    )


def suggestion(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """The nearest of what is known, or all of it."""
    from difflib import get_close_matches

    by_lower = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return f"did you mean {by_lower[near[0]]}?" if near else f"known here: {', '.join(known)}"


def as_written(value: object) -> str:
    """A value as a file would have it, on one line, short, and without passwords."""
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
    except ValueError:  # Python refuses to write out integers of thousands of digits
        return "a number of thousands of digits"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def printable(text: str) -> str:
    """The text with all that could break a line or a terminal spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def toml_path(path: KeyPath) -> str:
    """A path of keys as TOML has it: names that need quotes get them."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{_short(printable(part))}"' for part in path)
