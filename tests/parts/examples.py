"""How many examples a test by hypothesis tries: all of them in `make test-all` and in CI, a quarter elsewhere."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

_SHARE = 1 if os.environ.get("EXAMPLES") == "all" or os.environ.get("CI") == "true" else 4


def examples(count: int, **more: Any) -> settings:
    """Settings with this many examples, or a quarter of them."""
    return settings(max_examples=count // _SHARE, **more)
