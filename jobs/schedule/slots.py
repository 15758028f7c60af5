"""What an environment's file puts on the clock: pure, and without asking any server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from inventories import Environment
from jobs.registry import JOBS

DATABASE_JOBS = ("backup", "verify", "retention")


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A job on what one table of the file names (a database, a server with all of its databases, a copy) and when."""

    job: str
    name: str
    line: str

    def owns(self, subject: str) -> bool:
        """Whether runs on this subject are runs of this slot: a server's databases are known as <server>.<database>."""
        return self.name in ("", subject) or subject.startswith(f"{self.name}.")


@dataclass(frozen=True, slots=True)
class Timer:
    """Slots of one job with one line: they start as one, so that the runner can limit how many run side by side."""

    environment: str
    job: str
    line: str
    names: tuple[str, ...]
    is_alone: bool

    @property
    def unit(self) -> str:
        """A name that stays when databases are added to the line."""
        return "-".join(["groundcrew", self.environment, self.job, *([] if self.is_alone else self.names[:1])])

    @property
    def title(self) -> str:
        """What it does, for people."""
        of = f" of {', '.join(self.names)}" if self.names else ""
        return f"{self.job}{of} in {self.environment}"

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `crew` that start it."""
        return run_arguments(self.environment, self.job, self.names)


def run_arguments(environment: str, job: str, names: Iterable[str]) -> tuple[str, ...]:
    """The arguments of `crew` for a scheduled run; by name, for a job may have subjects that are on no clock."""
    only = [word for name in names for word in ("--only", name)]
    return ("run", job, environment, *only, "--scheduled")


def slots(environment: Environment) -> tuple[Slot, ...]:
    """Every job that has a line in the file, in the order in which people ask for them."""
    return tuple(Slot(job, name, str(line)) for job, name, line in _lines(environment) if line)


def scheduled(environment: Environment) -> tuple[Slot, ...]:
    """The slots of jobs that this groundcrew has."""
    return tuple(slot for slot in slots(environment) if slot.job in JOBS)


def _lines(environment: Environment) -> Iterator[tuple[str, str, object]]:
    tables = {**environment.databases, **environment.servers}
    for job in DATABASE_JOBS:
        yield from ((job, name, getattr(table, job)) for name, table in sorted(tables.items()))
    yield from (("refresh", name, table.at) for name, table in sorted(environment.refresh.items()))
    for job, table, key in (
        ("drift", environment.drift, "check"),
        ("cost", environment.cost, "check"),
        ("status", environment.status, "at"),
    ):
        if table is not None:
            yield job, "", getattr(table, key)


def timers(environment: str, slots: Iterable[Slot]) -> tuple[Timer, ...]:
    """The slots of each job and line, together."""
    by_line = sorted(slots, key=lambda slot: (slot.job, slot.line, slot.name))
    groups = [(key, tuple(group)) for key, group in groupby(by_line, key=lambda slot: (slot.job, slot.line))]
    lines = [job for (job, _), _ in groups]
    return tuple(
        Timer(environment, job, line, tuple(slot.name for slot in group if slot.name), lines.count(job) == 1)
        for (job, line), group in groups
    )
