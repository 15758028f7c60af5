"""Values of attributes as Terraform writes them: compared by path, shown short, and never shown where sensitive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

SENSITIVE = "(sensitive)"
UNKNOWN = "(known after apply)"
NOTHING = "(nothing)"
LONGEST = 160
CONTEXT = 20

Path = tuple[str | int, ...]


def dotted_path(path: Path) -> str:
    """A path as people write it: tags.Owner, root_block_device.0.volume_size."""
    return ".".join(str(step) for step in path)


def are_equal(one: Any, other: Any) -> bool:
    """Equal, or both empty: providers give null, "", [] and {} for the same nothing, and not always the same one."""
    return bool(one == other) or (is_empty(one) and is_empty(other))


def is_empty(value: Any) -> bool:
    """Null, or empty."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def differing_paths(before: Any, after: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of what differs: into tables and single blocks; lists are sets more often than not, and stay whole."""
    if are_equal(before, after):
        return
    if isinstance(before, dict | None) and isinstance(after, dict | None) and (before or after):
        mine, theirs = before or {}, after or {}
        for key in sorted({*mine, *theirs}):
            yield from differing_paths(mine.get(key), theirs.get(key), (*path, key))
    elif _is_block(before) and _is_block(after):
        yield from differing_paths(before[0], after[0], (*path, 0))
    else:
        yield path


def _is_block(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)


def value_at(value: Any, path: Path) -> Any:
    """What lies at a path; None where there is nothing."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def is_marked(mask: Any, path: Path) -> bool:
    """Whether a mask (of what is sensitive, or unknown) covers a path: above it, at it, or anywhere below it."""
    for step in path:
        if mask is True:
            return True
        mask = value_at(mask, (step,))
    return _any(mask)


def _any(mask: Any) -> bool:
    if isinstance(mask, dict):
        return any(_any(inner) for inner in mask.values())
    return any(_any(inner) for inner in mask) if isinstance(mask, list) else mask is True


def is_later(one: str, other: str) -> bool:
    """Whether both are moments, and the first comes after the second: clocks that move on by themselves."""
    return bool(_MOMENT.fullmatch(one) and _MOMENT.fullmatch(other) and one > other)


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def short_text(value: Any) -> str:
    """A value on one line, less what is empty in it, and cut where it gets long."""
    if is_empty(value):
        return NOTHING
    value = _filled(value)
    text = value if isinstance(value, str) and "\n" not in value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner) for key, inner in value.items() if not is_empty(inner)}
    return [_filled(inner) for inner in value] if isinstance(value, list) else value


def short_texts(before: Any, after: Any) -> tuple[str, str]:
    """Two values; of two lists only what the other one lacks, of two long texts what they have from where they part."""
    if isinstance(before, list) and isinstance(after, list):
        gone, come = _less(before, after), _less(after, before)
        if gone or come:
            return short_text(gone), short_text(come)
    if isinstance(before, str) and isinstance(after, str) and min(len(before), len(after)) > LONGEST:
        same = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0) - CONTEXT
        if same > 0:
            return f"…{short_text(before[same:])}", f"…{short_text(after[same:])}"
    return short_text(before), short_text(after)


def _less(these: Sequence[Any], those: Sequence[Any]) -> list[Any]:
    return [one for one in these if one not in those]
