"""`crew backups list --strip`: a mark for each of the last days of each database."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from shutil import get_terminal_size

from inventories import Environment
from jobs.cli import arguments, output
from jobs.status.collect import database_marks
from jobs.status.days import Mark, describe_days, last_days

SIGNS = {Mark.VERIFIED: "█", Mark.BACKED_UP: "▄", Mark.FAILED: "✕", Mark.MISSING: "□", Mark.NONE: "·"}
LEGEND = "  ".join(f"{SIGNS[mark]} {mark}" for mark in (Mark.VERIFIED, Mark.BACKED_UP, Mark.FAILED, Mark.MISSING))


def print_strips(environment: Environment, database: str | None, *, as_json: bool) -> None:
    """Print the strip of each database, or of one."""
    from jobs.backup import sets_of

    now, store = datetime.now(UTC), arguments.environment_store(environment)
    by_name = database_marks(environment, store, now)
    if database is not None:
        if database not in by_name:
            sets_of(environment, store, database)  # raises with the names that there are, unless it has sets
        by_name = {database: by_name.get(database, [])}
    today = now.astimezone(environment.timezone).date()
    if as_json:
        days = {name: [str(mark) for mark in of_days] for name, of_days in by_name.items()}
        output.print_json({"environment": environment.name, "first_day": str(last_days(today)[0]), "days": days})
        return
    if not by_name:
        output.say(f"{environment.name}: no database yet. To take the first: crew run backup {environment.name}")
        return
    output.table([_strip_row(name, of_days, _width(by_name)) for name, of_days in sorted(by_name.items())])
    output.say(f"{LEGEND}  One mark a day, today on the right.", output.QUIET)


def _width(names: Sequence[str] | dict[str, list[Mark]]) -> int:
    """Return how many days fit beside the names on a terminal; all of them elsewhere."""
    if not sys.stdout.isatty():
        return sys.maxsize
    return max(7, get_terminal_size().columns - max(map(len, names)) - 3)


def _strip_row(name: str, of_days: Sequence[Mark], width: int) -> tuple[output.Cell | str, ...]:
    shown = of_days[-width:]
    style = output.BAD if Mark.FAILED in shown else output.WARN if Mark.MISSING in shown else output.GOOD
    text = "".join(SIGNS[mark] for mark in shown)
    return name, output.Cell(text or describe_days(()), style)
