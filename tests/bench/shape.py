"""A benchmark: commands that do the same work, measured in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Side:
    """One of the commands: a list of arguments, or a line for the shell."""

    name: str
    command: Sequence[str | Path] | str
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None  # each time, and not measured
    times: float | None = None  # a goal: at most so many times as long as the first side
    than: Mapping[str, float] = field(default_factory=dict)  # goals: at most so many times as long as other sides
    seconds: float | None = None  # a goal: at most so long
    memory: float | None = None  # a goal: the first process never has more MiB


@dataclass(frozen=True)
class Bench:
    """`sides` creates in a folder what the commands need. Each side is compared with the first one."""

    title: str
    sides: Callable[[Path], AbstractContextManager[Sequence[Side]]]
    rounds: int = 5
