"""How many examples a random test tries: all of them in `make test-all` and in CI, a quarter elsewhere."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

_SHARE = 1 if os.environ.get("EXAMPLES") == "all" or os.environ.get("CI") == "true" else 4


def share(count: int) -> int:
    """Return this number, or a quarter of it."""
    return count // _SHARE


def examples(count: int, **more: Any) -> settings:
    """Settings of hypothesis with a share of this many examples."""
    return settings(max_examples=share(count), **more)
