"""The slots of an environment file: which job runs on what, and when. Pure; queries no server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from inventories import Environment

DATABASE_JOBS = ("backup", "verify", "retention")


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """A job, the table of the file that schedules it (a database, a server, a refresh), and its cron line."""

    job: str
    name: str
    line: str

    def owns(self, subject: str) -> bool:
        """Whether runs on this subject belong to the slot: a server's databases are named <server>.<database>."""
        return self.name in ("", subject) or subject.startswith(f"{self.name}.")


@dataclass(frozen=True, slots=True)
class Timer:
    """Slots with the same job and line: one process runs them, so that it can limit how many run at once."""

    environment: str
    job: str
    line: str
    names: tuple[str, ...]
    is_only_line: bool

    @property
    def unit(self) -> str:
        """The unit name, which stays the same when another database gets this line."""
        return "-".join(["groundcrew", self.environment, self.job, *([] if self.is_only_line else self.names[:1])])

    @property
    def title(self) -> str:
        """The title for people, for example "backup of shop in production"."""
        names = f" of {', '.join(self.names)}" if self.names else ""
        return f"{self.job}{names} in {self.environment}"

    @property
    def command(self) -> tuple[str, ...]:
        """The arguments of `crew` that start the timer's run."""
        return run_arguments(self.environment, self.job, self.names)


def run_arguments(environment: str, job: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the arguments of `crew` for a scheduled run; names every subject, because some have no schedule."""
    only = [word for name in names for word in ("--only", name)]
    return ("run", job, environment, *only, "--scheduled")


def slots(environment: Environment) -> tuple[Slot, ...]:
    """Return a slot for each cron line in the file, jobs in a fixed order, names sorted."""
    return tuple(Slot(job, name, str(line)) for job, name, line in _lines(environment) if line)


def _lines(environment: Environment) -> Iterator[tuple[str, str, object]]:
    tables = {**environment.databases, **environment.servers}
    for job in DATABASE_JOBS:
        copies = environment.copies if job != "backup" else {}
        yield from ((job, name, getattr(table, job)) for name, table in sorted({**tables, **copies}.items()))
    yield from (("verify", stanza.subject, stanza.verify) for _, stanza in sorted(environment.pitr.items()))
    yield from (("copy", name, copy.at) for name, copy in sorted(environment.copies.items()))
    yield from (("refresh", name, table.at) for name, table in sorted(environment.refresh.items()))
    for job, table, key in (
        ("drift", environment.drift, "check"),
        ("hosts", environment.hosts, "check"),
        ("cost", environment.cost, "check"),
        ("status", environment.status, "at"),
        ("digest", environment.alerts, "digest"),
    ):
        if table is not None:
            yield job, "", getattr(table, key)


def timers(environment: str, slots: Iterable[Slot]) -> tuple[Timer, ...]:
    """Group slots by job and line."""
    by_line = sorted(slots, key=lambda slot: (slot.job, slot.line, slot.name))
    groups = [(key, tuple(group)) for key, group in groupby(by_line, key=lambda slot: (slot.job, slot.line))]
    jobs = [job for (job, _), _ in groups]
    return tuple(
        Timer(environment, job, line, tuple(slot.name for slot in group if slot.name), jobs.count(job) == 1)
        for (job, line), group in groups
    )
