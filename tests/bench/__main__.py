"""`make bench`: run all benchmarks, or the named ones, and print a table for each."""

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
    """The benchmarks: each file bench_<name>.py in this folder."""
    return sorted(file.stem.removeprefix("bench_") for file in HERE.glob("bench_*.py"))


def run(bench: Bench, folder: Path) -> str:
    """Measure the sides in turns. A first turn measures memory; its time does not count."""
    with bench.sides(folder) as sides:
        runs: dict[str, list[Measured]] = {side.name: [] for side in sides}
        trees = {side.name: once(side, folder / "log", whole_tree=True).tree for side in sides}
        for _ in range(bench.rounds):
            for side in sides:
                runs[side.name].append(once(side, folder / "log"))
        return table(bench, sides, {name: replace(middle(each), tree=trees[name]) for name, each in runs.items()})


def table(bench: Bench, sides: Sequence[Side], results: dict[str, Measured]) -> str:
    """Format the results as a Markdown table for a README."""
    base = results[sides[0].name].seconds
    lines = [
        f"{bench.title} (median of {bench.rounds} rounds in turns; memory of all processes: of one more)",
        "",
        "| | seconds | times the first | goal | processor time | memory, all processes (PSS) | memory, first process |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for side in sides:
        result = results[side.name]
        cells = [
            side.name,
            f"{result.seconds:.3f}",
            f"{result.seconds / base:.2f}",
            verdict(side, result, base, {name: each.seconds for name, each in results.items()}),
            f"{result.processor:.2f} s",
            f"{result.tree / 2**20:.0f} MiB",
            f"{result.first / 2**20:.0f} MiB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(side: Side, result: Measured, base: float, seconds: Mapping[str, float]) -> str:
    """The goals of a side, and whether it met them."""
    goals = []
    if side.times is not None:
        goals.append(goal_line(f"{side.times:g} times", result.seconds <= side.times * base))
    goals += [
        goal_line(f"{times:.3g} times {name}", result.seconds <= times * seconds[name])
        for name, times in side.than.items()
    ]
    if side.seconds is not None:
        goals.append(goal_line(f"{side.seconds:g} s", result.seconds <= side.seconds))
    if side.memory is not None:
        goals.append(goal_line(f"{side.memory:g} MiB", result.first <= side.memory * 2**20))
    return "; ".join(goals)


def goal_line(goal: str, met: bool) -> str:
    return f"≤ {goal}: {'met' if met else 'MISSED'}"


def matching(name: str, known: Sequence[str]) -> Sequence[str]:
    """The benchmark of that name, or all whose names start with it: deploy is deploy_1, deploy_3 and so on."""
    return [name] if name in known else [each for each in known if each.startswith(f"{name}_")]


def main(wanted: Sequence[str]) -> None:
    known = names()
    if unknown := [name for name in wanted if not matching(name, known)]:
        sys.exit(f"unknown benchmark {', '.join(unknown)}. Choose from: {', '.join(known)}")
    for name in [each for one in wanted for each in matching(one, known)] or known:
        bench: Bench = import_module(f"tests.bench.bench_{name}").BENCH
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            try:
                print(run(bench, Path(folder)), end="\n\n", flush=True)
            except Broken as broken:
                sys.exit(f"{name}: {broken}")


if __name__ == "__main__":
    main(sys.argv[1:])
