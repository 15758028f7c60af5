"""`make bench`: run all benches, or those that are named, and print a table of each."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from tests.bench.measure import Broken, Measured, middle, once
from tests.bench.shape import Bench, Side

HERE = Path(__file__).parent


def names() -> list[str]:
    """Each file bench_<name>.py here is a bench."""
    return sorted(file.stem.removeprefix("bench_") for file in HERE.glob("bench_*.py"))


def run(bench: Bench, folder: Path) -> str:
    """Measure the sides in turns, after one turn for their memory, of which the time does not count."""
    with bench.sides(folder) as sides:
        runs: dict[str, list[Measured]] = {side.name: [] for side in sides}
        trees = {side.name: once(side, folder / "log", whole_tree=True).tree for side in sides}
        for _ in range(bench.rounds):
            for side in sides:
                runs[side.name].append(once(side, folder / "log"))
        return table(bench, sides, {name: replace(middle(each), tree=trees[name]) for name, each in runs.items()})


def table(bench: Bench, sides: Sequence[Side], results: dict[str, Measured]) -> str:
    """As Markdown, so that it can be pasted into a README."""
    base = results[sides[0].name].seconds
    lines = [
        f"{bench.title} (median of {bench.rounds} rounds in turns; memory of all processes: of one more)",
        "",
        "| | seconds | times the first | goal | memory, all processes (PSS) | memory, first process |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for side in sides:
        result = results[side.name]
        cells = [
            side.name,
            f"{result.seconds:.3f}",
            f"{result.seconds / base:.2f}",
            verdict(side, result, base, {name: each.seconds for name, each in results.items()}),
            f"{result.tree / 2**20:.0f} MiB",
            f"{result.first / 2**20:.0f} MiB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(side: Side, result: Measured, base: float, seconds: Mapping[str, float]) -> str:
    """The side's goals, and whether they are met."""
    goals = []
    if side.times is not None:
        goals.append(told(f"{side.times:g} times", result.seconds <= side.times * base))
    goals += [
        told(f"{times:.3g} times {name}", result.seconds <= times * seconds[name]) for name, times in side.than.items()
    ]
    if side.seconds is not None:
        goals.append(told(f"{side.seconds:g} s", result.seconds <= side.seconds))
    if side.memory is not None:
        goals.append(told(f"{side.memory:g} MiB", result.first <= side.memory * 2**20))
    return "; ".join(goals)


def told(goal: str, met: bool) -> str:
    return f"≤ {goal}: {'met' if met else 'MISSED'}"


def meant(name: str, known: Sequence[str]) -> Sequence[str]:
    """The bench of that name; or else all whose names begin so: deploy is deploy_1, deploy_3 and so on."""
    return [name] if name in known else [each for each in known if each.startswith(f"{name}_")]


def main(wanted: Sequence[str]) -> None:
    known = names()
    if unknown := [name for name in wanted if not meant(name, known)]:
        sys.exit(f"no such bench: {', '.join(unknown)}; there are: {', '.join(known)}")
    for name in [each for one in wanted for each in meant(one, known)] or known:
        bench: Bench = import_module(f"tests.bench.bench_{name}").BENCH
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            try:
                print(run(bench, Path(folder)), end="\n\n", flush=True)
            except Broken as broken:
                sys.exit(f"{name}: {broken}")


if __name__ == "__main__":
    main(sys.argv[1:])
