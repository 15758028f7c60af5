"""The harness of the benchmarks measures correctly."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.__main__ import matching, run
from tests.bench.measure import Broken, Measured, middle, once
from tests.bench.shape import Bench, Side

HOLD_50_MB = """
import pathlib, sys, time
kept = bytearray(50_000_000)
pathlib.Path(sys.argv[1]).touch()
while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.01)
time.sleep(1)
"""

BURN = """
import pathlib, sys, time
while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)
end = time.process_time() + 0.4
while time.process_time() < end: pass
pathlib.Path(sys.argv[2]).touch()
"""


def test_time_is_the_median_and_memory_the_highest() -> None:
    runs = [Measured(1, 10, 1, 7), Measured(9, 30, 2, 8), Measured(2, 20, 3, 9)]
    assert middle(runs) == Measured(2, 30, 3, 8)


def test_processor_time_is_that_of_the_command_and_of_servers(tmp_path: Path) -> None:
    asked, answered, ended = (tmp_path / name for name in ("asked", "answered", "ended"))
    with subprocess.Popen([sys.executable, "-c", BURN, asked, answered]):
        line = f"touch {asked}; {shlex.join([sys.executable, '-c', BURN, str(answered), str(ended)])}; true"
        assert 0.6 <= once(Side("a client", line), tmp_path / "log").processor < 6


def test_the_memory_of_children_counts_for_all_processes_and_not_for_the_first(tmp_path: Path) -> None:
    hold, one, other = f"{sys.executable} -c '{HOLD_50_MB}'", tmp_path / "one", tmp_path / "other"
    line = f"{hold} {one} {other} & {hold} {other} {one} & wait"
    measured = once(Side("two", line), tmp_path / "log", whole_tree=True)
    assert measured.seconds >= 1
    assert measured.tree > 100_000_000
    assert measured.first < 50_000_000


def test_a_command_that_fails_ends_the_bench_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"(?s)bad ended with 3: .*sorry"):
        once(Side("bad", "echo sorry; exit 3"), tmp_path / "log")


def test_sides_take_turns_and_the_first_turn_does_not_count(tmp_path: Path) -> None:
    turns: list[str] = []

    @contextmanager
    def sides(folder: Path) -> Iterator[Sequence[Side]]:
        yield [Side(name, ["true"], before=lambda name=name: turns.append(name), seconds=60) for name in ("a", "b")]

    table = run(Bench("nothing at all", sides, rounds=2), tmp_path)
    assert turns == ["a", "b"] * 3
    assert "nothing at all (median of 2 rounds" in table
    assert "| b |" in table
    assert "≤ 60 s: met" in table


def test_a_goal_can_be_set_by_another_side_than_the_first(tmp_path: Path) -> None:
    @contextmanager
    def sides(folder: Path) -> Iterator[Sequence[Side]]:
        yield [Side("slow", "sleep 0.3"), Side("slower", "sleep 2"), Side("quick", "true", than={"slower": 0.5})]

    assert "≤ 0.5 times slower: met" in run(Bench("three", sides, rounds=1), tmp_path)


def test_the_beginning_of_a_name_means_all_that_begin_so() -> None:
    known = ["deploy_1", "deploy_3", "drift", "drift_of_four"]
    assert matching("deploy", known) == ["deploy_1", "deploy_3"]
    assert matching("drift", known) == ["drift"]
    assert matching("dep", known) == []


def test_the_retention_plan_is_measured(tmp_path: Path) -> None:
    side = Side("plan", [sys.executable, "-m", "tests.bench.planned", "plan"], environment={"BENCH_SIZE": "0.001"})
    once(side, tmp_path / "log")
    assert "planned in" in (tmp_path / "log").read_text()
