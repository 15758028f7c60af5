"""The reference of all keys, made from the types: an environment file that could be used as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from inventories.environment import Environment
from inventories.reading import Key, ListOf, NamedTables, TableOf, ValueType, keys_of

_ABOUT = """\
# Every key of an environment file, inventories/<name>.toml, with an example of each.
# A key is optional unless it is said to be needed; what it is when left out is told with it.
#
# A secret is never written down here. It is { env = "NAME" }: a variable of the process environment, or
# a file NAME in $CREDENTIALS_DIRECTORY; { file = "path" }: a file that not everybody can read; or
# { command = ["program", "argument"] }: what the program prints.
#
# GROUNDCREW__<SECTION>__<KEY> in the process environment overrides a value, with further __ for what lies
# deeper. Case does not matter, and - and . are written as _:
#   GROUNDCREW__DATABASES__MY_SHOP__KEEP__DAILY=30
#   GROUNDCREW__STORE__DECRYPT_WITH='{ file = "/run/age.key" }'
"""


def reference() -> str:
    """All keys as a commented TOML document, which the reader itself can read."""
    explained: set[tuple[str, str]] = set()
    sections = (line for key in keys_of(Environment) for line in _section((key.toml,), key.kind, key.means, explained))
    return re.sub(r"\n{3,}", "\n\n", "\n".join([_ABOUT.rstrip(), *sections, ""]))


def _section(path: tuple[str, ...], kind: ValueType[Any], means: str, explained: set[tuple[str, str]]) -> Iterator[str]:
    """A table with its keys, and after them the tables below it."""
    if isinstance(kind, NamedTables):
        yield from _section((*path, kind.example_names[0]), kind.of, means, explained)
        yield from ("", *(f"[{'.'.join(path)}.{name}]" for name in kind.example_names[1:]))
    elif isinstance(kind, ListOf):
        yield from _table(f"[[{'.'.join(path)}]]", path, kind.of, means, explained)
    else:
        yield from _table(f"[{'.'.join(path)}]", path, kind, means, explained)


def _table(
    header: str, path: tuple[str, ...], kind: ValueType[Any], means: str, explained: set[tuple[str, str]]
) -> Iterator[str]:
    assert isinstance(kind, TableOf)
    keys = keys_of(kind.type)
    yield from ("", f"# {means}", header)
    for key in keys:
        if not _is_table(key.kind):
            yield from _key(key, explained)
    for key in keys:
        if _is_table(key.kind):
            yield from _section((*path, key.toml), key.kind, key.means, explained)


def _is_table(kind: ValueType[Any]) -> bool:
    return isinstance(kind, TableOf | NamedTables) or (isinstance(kind, ListOf) and isinstance(kind.of, TableOf))


def _key(key: Key, explained: set[tuple[str, str]]) -> Iterator[str]:
    """One key: what it means the first time it comes, and its example."""
    told = f"# {key.means} ({key.kind.words}; {_default(key)})"
    if (key.toml, told) not in explained:
        explained.add((key.toml, told))
        yield told
    yield f"{'# ' if key.commented else ''}{key.toml} = {key.example}"


def _default(key: Key) -> str:
    if key.needed:
        return "needed"
    if key.default in (None, "", [], {}):
        return "else none"
    return f"else {_written(key.default)}"


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
