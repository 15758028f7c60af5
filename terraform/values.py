"""Compare attribute values as Terraform writes them, and shorten them for display. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from inventories.printable import printable

SENSITIVE, NOT_SENSITIVE = "(sensitive)", "(not sensitive)"
FORGOTTEN = "no longer managed by Terraform, but not destroyed"
UNKNOWN = "(known after apply)"
NOTHING = "(nothing)"
MAX_LENGTH = 160
CONTEXT = 20

Path = tuple[str | int, ...]


def dotted_path(path: Path) -> str:
    """Return a path as text, such as tags.Owner or root_block_device.0.volume_size."""
    return printable(".".join(str(step) for step in path))


def are_equal(first: Any, second: Any) -> bool:
    """Return whether two values mean the same: providers mix null, "", [] and {}, and rewrite JSON texts."""
    return _is_same(first, second) or bool(meaning(first) == meaning(second))


def _is_same(first: Any, second: Any) -> bool:
    """Return whether two plain values are the same: the usual case, and fast, since plans have many values."""
    return type(first) is type(second) and first == second and not isinstance(first, dict | list)


def meaning(value: Any) -> Any:
    """Return a value in a form that is equal for values that mean the same.

    At any depth, empty values are null, null attributes of objects are left out, and JSON texts are parsed.
    """
    if isinstance(value, dict):
        inner = {key: meaning(each) for key, each in value.items()}
        return {key: each for key, each in inner.items() if each is not None} or None
    if isinstance(value, list):
        return [meaning(each) for each in value] or None
    if isinstance(value, str):
        return _parsed(value) if value.lstrip()[:1] in ("{", "[") else value or None
    return _exact(value)


def _parsed(text: str) -> Any:
    """Return the content of a JSON text, whatever the order of its keys and its layout; other texts as they are."""
    try:
        return ("JSON", _exact(json.loads(text, object_pairs_hook=_object)))
    except (ValueError, RecursionError):
        return text


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; refuse one with a key twice, since parsers disagree on its meaning."""
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _exact(value: Any) -> Any:
    """Return a value that differs for true and 1, which Python holds to be equal."""
    if isinstance(value, dict):
        return {key: _exact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_exact(each) for each in value]
    return ("boolean", value) if isinstance(value, bool) else value


def is_empty(value: Any) -> bool:
    """Return whether a value is null or empty."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def differing_paths(before: Any, after: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of values that differ, inside objects and single blocks too.

    Other lists are compared as a whole, because most of them are sets.
    """
    if isinstance(before, dict | None) and isinstance(after, dict | None):
        old, new = before or {}, after or {}
        for key in sorted({*old, *new}):
            if not _is_same(old.get(key), new.get(key)):
                yield from differing_paths(old.get(key), new.get(key), (*path, key))
    elif _is_block(before) and _is_block(after):
        yield from differing_paths(before[0], after[0], (*path, 0))
    elif not are_equal(before, after):
        yield path


def _is_block(value: Any) -> bool:
    return are_blocks(value) and len(value) == 1


def are_blocks(value: Any) -> bool:
    """Return whether a value is a list of blocks."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def value_at(value: Any, path: Path) -> Any:
    """Return the value at a path, or None."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def is_marked(mask: Any, path: Path) -> bool:
    """Return whether a mask of sensitive or unknown values marks the path, a parent of it, or anything below it."""
    for step in path:
        if mask is True:
            return True
        mask = value_at(mask, (step,))
    return _any(mask)


def marked_paths(mask: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the paths that a mask of sensitive or unknown values marks."""
    if mask is True:
        yield path
    steps = mask.items() if isinstance(mask, dict) else enumerate(mask) if isinstance(mask, list) else ()
    for step, inner in steps:
        yield from marked_paths(inner, (*path, step))


def _any(mask: Any) -> bool:
    if isinstance(mask, dict):
        return any(_any(inner) for inner in mask.values())
    return any(_any(inner) for inner in mask) if isinstance(mask, list) else mask is True


def is_later(first: str, second: str) -> bool:
    """Return whether both values are timestamps and the first is later."""
    return bool(_TIMESTAMP.fullmatch(first) and _TIMESTAMP.fullmatch(second) and first > second)


_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def short_text(value: Any) -> str:
    """Return a value on one line, safe to print, without its empty parts, cut to MAX_LENGTH."""
    if is_empty(value):
        return NOTHING
    value = _without_empty(value)
    text = value if isinstance(value, str) and "\n" not in value else json.dumps(value, ensure_ascii=False)
    return printable(text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}…")


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(inner) for key, inner in value.items() if not is_empty(inner)}
    return [_without_empty(inner) for inner in value] if isinstance(value, list) else value


def short_texts(before: Any, after: Any) -> tuple[str, str]:
    """Return two values for display: lists without their common items, long texts from their first difference."""
    if isinstance(before, list) and isinstance(after, list):
        removed, added = _without(before, after), _without(after, before)
        if removed or added:
            return short_text(removed), short_text(added)
    if isinstance(before, str) and isinstance(after, str) and min(len(before), len(after)) > MAX_LENGTH:
        pairs = enumerate(zip(before, after, strict=False))
        start = next((index for index, (old, new) in pairs if old != new), 0) - CONTEXT
        if start > 0:
            return f"…{short_text(before[start:])}", f"…{short_text(after[start:])}"
    return short_text(before), short_text(after)


def _without(items: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    present = [meaning(other) for other in others]
    return [item for item in items if meaning(item) not in present]
