"""The time of a command, and the memory that it and its child processes use together.

To add up the memory of all processes holds them up while the kernel counts, the more the more they have: a run that
is looked at like that tells nothing of its time.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.shape import Side

EVERY = 0.05  # seconds between two looks at the memory


class Broken(Exception):
    """A side failed, so there is nothing to compare."""


@dataclass(frozen=True)
class Measured:
    """One run. `tree`: all processes together, shared pages counted once, or 0 if nobody looked. `first`: the command's
    own process alone. `processor`: seconds of all processes, with the servers that the benchmark has started."""

    seconds: float
    tree: int
    first: int
    processor: float = 0


def once(side: Side, log: Path, *, whole_tree: bool = False) -> Measured:
    """Run a side and measure its own process, which costs nothing, or all processes that it starts."""
    side.before()
    with log.open("wb") as output:
        begun, used = time.perf_counter(), processor_seconds()
        running = subprocess.Popen(
            side.command,
            shell=isinstance(side.command, str),
            env={**os.environ, **side.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        peaks = Peaks(running.pid, whole_tree=whole_tree)
        code = running.wait()
        seconds = time.perf_counter() - begun
        peaks.stop()
    if code != 0:
        raise Broken(f"{side.name} ended with {code}: {log.read_text(errors='replace')[-2000:]}")
    return Measured(seconds, peaks.tree, peaks.first, processor_seconds() - used)


def middle(runs: list[Measured]) -> Measured:
    """The medians of the seconds, and the maximum of the memory."""
    return Measured(
        median(r.seconds for r in runs),
        max(r.tree for r in runs),
        max(r.first for r in runs),
        median(r.processor for r in runs),
    )


def processor_seconds() -> float:
    """The processor time that all processes started by this one have used, also those that have ended."""
    used = [ticks(pid) for pid in tree(os.getpid())]
    return (sum(map(sum, used)) - sum(used[0][:2])) / os.sysconf("SC_CLK_TCK")


def ticks(pid: int) -> list[int]:
    """The clock ticks of a process as utime and stime, and those of its children that have ended; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return [0] * 4
    return [int(field) for field in fields[11:15]]


class Peaks:
    """Measures a process, or also its descendants, repeatedly until `stop`."""

    def __init__(self, pid: int, *, whole_tree: bool = False) -> None:
        self.tree = self.first = 0
        self._pid, self._whole_tree = pid, whole_tree
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            if self._whole_tree:
                self.tree = max(self.tree, sum(figure(pid, "smaps_rollup", "Pss") for pid in tree(self._pid)))
            self.first = max(self.first, figure(self._pid, "status", "VmHWM"))
            if self._over.wait(EVERY):
                return


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))
    except (FileNotFoundError, ProcessLookupError):
        return  # it ended while we looked


def figure(pid: int, file: str, name: str) -> int:
    """The bytes in a line like `Pss: 123 kB` of a file in /proc; 0 if the process has ended."""
    try:
        found = re.search(rf"(?m)^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return int(found[1]) * 1024 if found else 0
