"""Generate the reference of all keys from the types: a valid environment file with comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from inventories.environment import Environment
from inventories.reading import Key, ListOf, NamedTables, TableOf, ValueType, keys_of

_INTRODUCTION = """\
# All keys of an environment file, inventories/<name>.toml, each with an example.
# The comment above a key says what it means, which values it accepts, and its default.
# Without "required", you can omit the key.
#
# Never write a secret to this file. Write a reference to it:
#   { env = "NAME" }                        an environment variable, or the file NAME in $CREDENTIALS_DIRECTORY
#   { file = "path" }                       a file that only its owner and group can read
#   { command = ["program", "argument"] }   the output of a program
#
# The environment variable GROUNDCREW__<SECTION>__<KEY> overrides a value. Add __ for each deeper level.
# Case does not matter, and - and . become _:
#   GROUNDCREW__DATABASES__MY_SHOP__KEEP__DAILY=30
#   GROUNDCREW__STORE__DECRYPT_WITH='{ file = "/run/age.key" }'
"""


def reference() -> str:
    """Return all keys as a commented TOML document, which is a valid environment file."""
    explained: set[tuple[str, str]] = set()
    sections = (
        line for key in keys_of(Environment) for line in _section((key.toml,), key.value_type, key.meaning, explained)
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join([_INTRODUCTION.rstrip(), *sections, ""]))


def _section(
    path: tuple[str, ...], value_type: ValueType[Any], meaning: str, explained: set[tuple[str, str]]
) -> Iterator[str]:
    """Yield the lines of a table, and then of the tables below it."""
    if isinstance(value_type, NamedTables):
        yield from _section((*path, value_type.example_names[0]), value_type.item_type, meaning, explained)
        yield from ("", *(f"[{'.'.join(path)}.{name}]" for name in value_type.example_names[1:]))
    elif isinstance(value_type, ListOf):
        yield from _table(f"[[{'.'.join(path)}]]", path, value_type.item_type, meaning, explained)
    else:
        yield from _table(f"[{'.'.join(path)}]", path, value_type, meaning, explained)


def _table(
    header: str, path: tuple[str, ...], value_type: ValueType[Any], meaning: str, explained: set[tuple[str, str]]
) -> Iterator[str]:
    assert isinstance(value_type, TableOf)
    keys = keys_of(value_type.type)
    yield from ("", f"# {_sentence(meaning)}", header)
    for key in keys:
        if not _is_table(key.value_type):
            yield from _key(key, explained)
    for key in keys:
        if _is_table(key.value_type):
            yield from _section((*path, key.toml), key.value_type, key.meaning, explained)


def _is_table(value_type: ValueType[Any]) -> bool:
    is_list_of_tables = isinstance(value_type, ListOf) and isinstance(value_type.item_type, TableOf)
    return isinstance(value_type, TableOf | NamedTables) or is_list_of_tables


def _key(key: Key, explained: set[tuple[str, str]]) -> Iterator[str]:
    """Yield a key with its example; the first time, also a comment that explains it."""
    comment = f"# {_sentence(key.meaning)} ({key.value_type.description}{_default(key)})"
    if (key.toml, comment) not in explained:
        explained.add((key.toml, comment))
        yield comment
    yield f"{'# ' if key.commented else ''}{key.toml} = {key.example}"


def _sentence(meaning: str) -> str:
    return meaning[:1].upper() + meaning[1:]


def _default(key: Key) -> str:
    if key.required:
        return "; required"
    if key.default in (None, "", [], {}):
        return "; default: none"
    return f"; default: {_toml(key.default)}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
