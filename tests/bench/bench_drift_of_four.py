"""The gain from checking stacks in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import Bench, Side
from tests.bench.bench_drift import CREW, applied

STACKS = ("network", "database", "backups", "monitoring")


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    with applied(folder, *STACKS, after={"database": ["network"]}) as made:
        run = f"{CREW} --root {made.root} run drift staging"
        environment = made.process_environment()
        yield [
            Side("one after another", " && ".join(f"{run} --only {name}" for name in STACKS), environment=environment),
            Side("side by side", run, environment=environment, times=1 / 1.5),
        ]


BENCH = Bench("drift of four stacks, on two cores", sides, rounds=3)
