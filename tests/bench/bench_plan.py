"""The retention plan for 100,000 sets."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import Bench, Side

PLANNED = [sys.executable, "-m", "tests.bench.planned"]


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    yield [
        Side("Python with 100,000 sets in memory", PLANNED),
        Side("the same, and the plan", [*PLANNED, "plan"], memory=150),
    ]


BENCH = Bench("a retention plan for 100,000 sets; the plan alone must take less than a second", sides)
