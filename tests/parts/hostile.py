"""Documents as somebody with write access to the store can leave them: a valid one, changed in a few places."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", "0", "../x", "a/b", "\x1b[2J", "\x00", "\ud800", "done", "age1", "shop" * 100),
    *("2026-11-29T02:00:00", "2026-11-29T02:00:00Z", "20261129T020000Z", "0001-01-01T00:00:00+14:00"),
    *("9999-12-31T23:59:59-12:00", [], {}, [[]], [{}], [None], ["a"], {"": ""}, {"key": [1]}),
)


def hostile(valid: bytes, seed: int) -> bytes:
    """Return a valid document with other values, fewer or more keys, or bytes that are cut, changed or repeated."""
    random = Random(seed)
    if random.random() < 0.2:
        return changed_bytes(valid, random)
    document = json.loads(valid)
    for _ in range(random.randint(1, 3)):
        _change(document, random)
    return json.dumps(document).encode()


def changed_bytes(valid: bytes, random: Random) -> bytes:
    """Return bytes that are cut, or have others in between, or have a piece twice."""
    first, last = sorted(random.choices(range(len(valid) + 1), k=2))
    return valid[:first] + random.randbytes(random.randint(0, 4)) + valid[random.choice((first, last)) :]


def _change(value: Any, random: Random) -> None:
    """Change one place inside a table or list."""
    while value:
        key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if isinstance(value[key], dict | list) and value[key] and random.random() < 0.8:
            value = value[key]
            continue
        change = random.choice(("set", "set", "set", "remove", "add"))
        if change == "remove":
            del value[key]
        elif change == "add" and isinstance(value, dict):
            value["another"] = deepcopy(random.choice(_VALUES))
        else:
            value[key] = deepcopy(random.choice(_VALUES))
        return
