"""Which parts a backup set is made of, and the command line that dumps each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobs.backup.postgres import quoting
from jobs.backup.postgres.programs import Program
from jobs.backup.sets.manifest import PartKind

MOST_ALONE = 20  # each name that pg_dump is given costs it time in databases of many tables
WORTH = 16 << 20  # below that, one more pg_dump reading the catalogs costs more than it saves


@dataclass(frozen=True, slots=True)
class Table:
    """A table to lock; only a leaf, plain or a partition, has rows of its own."""

    oid: int
    schema: str
    name: str
    bytes: int = 0
    leaf: bool = True
    unlogged: bool = False
    own: bool = True
    """False for what an extension made."""

    @property
    def quoted(self) -> str:
        """The name as SQL and as the patterns of pg_dump take it: everything within quotes means itself."""
        return quoting.name(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class Planned:
    """One part before it is dumped."""

    name: str
    kind: PartKind
    tables: tuple[str, ...] = ()
    """The table of a table's part; for the rest, the tables that it leaves out."""

    @property
    def table(self) -> str | None:
        return self.tables[0] if self.kind is PartKind.TABLE else None


def plan(tables: Sequence[Table], streams: int, encoding: str = "UTF8") -> tuple[Planned, ...]:
    """Definitions, the biggest tables alone, all the rest, the roles."""
    alone = [table.quoted for table in standing_alone(tables, streams, encoding)]
    return (
        Planned("defs", PartKind.DEFINITIONS),
        *(Planned(f"data-{number}", PartKind.TABLE, (name,)) for number, name in enumerate(alone, 1)),
        Planned("rest", PartKind.REST, tuple(alone)),
        Planned("roles", PartKind.ROLES),
    )


def standing_alone(tables: Sequence[Table], streams: int, encoding: str = "UTF8") -> list[Table]:
    """The biggest tables, until what is left is no more than one stream's share."""
    total = left = sum(table.bytes for table in tables)
    alone: list[Table] = []
    for table in sorted(tables, key=lambda table: (-table.bytes, table.schema, table.name)):
        if left <= total / streams or len(alone) == min(MOST_ALONE, streams + 1):
            break
        if table.own and table.bytes >= max(WORTH, total / (8 * streams)) and _can_be_named(table, encoding):
            alone.append(table)
            left -= table.bytes
    return alone


def _can_be_named(table: Table, encoding: str) -> bool:
    """pg_dump takes names in the database's encoding, and we give them in UTF-8."""
    return encoding == "UTF8" or table.quoted.isascii()


def pg_dump(program: Program, conninfo: str, part: Planned, snapshot: str, lock: timedelta) -> list[str]:
    """Dump one part, uncompressed, as the snapshot has it."""
    return [
        program.path,
        "--format=custom",
        "--compress=0",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={milliseconds(lock)}",
        "--no-password",
        *_selection(part),
        f"--dbname={conninfo}",
    ]


def _selection(part: Planned) -> list[str]:
    if part.kind is PartKind.DEFINITIONS:
        return ["--section=pre-data", "--section=post-data"]
    if part.kind is PartKind.TABLE:
        return ["--section=data", "--strict-names", *(f"--table={name}" for name in part.tables)]
    return ["--section=data", *(f"--exclude-table-data={name}" for name in part.tables)]


def pg_dumpall(program: Program, conninfo: str, database: str, *, passwords: bool) -> list[str]:
    """Dump the roles, asking in a database that the backup role may connect to."""
    hidden = [] if passwords else ["--no-role-passwords"]
    return [
        program.path,
        "--roles-only",
        *hidden,
        "--no-password",
        f"--database={database}",
        f"--dbname={conninfo}",
    ]


def milliseconds(limit: timedelta) -> int:
    """As the server and pg_dump take limits; 0 would mean for ever."""
    return max(1, round(limit.total_seconds() * 1000))
