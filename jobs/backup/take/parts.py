"""Plan the parts of a backup set, and build the command that dumps each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobs.backup.postgres import quoting
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.sets.manifest import PartKind

MAX_TABLE_PARTS = 20  # in databases with many tables, each --exclude-table-data slows pg_dump down
MIN_TABLE_BYTES = 16 << 20  # for smaller tables, another pg_dump that reads the catalogs costs more than it saves


@dataclass(frozen=True, slots=True)
class Table:
    """A table to lock. Only a leaf (a plain table or a partition) stores rows."""

    oid: int
    schema: str
    name: str
    bytes: int = 0
    leaf: bool = True
    unlogged: bool = False
    own: bool = True
    """False for a table that belongs to an extension."""

    @property
    def quoted(self) -> str:
        """The quoted name, for SQL and for the patterns of pg_dump, where quotes disable all wildcards."""
        return quoting.identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part before it is dumped."""

    name: str
    kind: PartKind
    tables: tuple[str, ...] = ()
    """The one table of a table part; for the rest, the excluded tables."""

    @property
    def table(self) -> str | None:
        return self.tables[0] if self.kind is PartKind.TABLE else None


def plan_parts(tables: Sequence[Table], streams: int, encoding: str = "UTF8") -> tuple[PlannedPart, ...]:
    """Return the parts: definitions, one per big table, the rest, the roles."""
    big = [table.quoted for table in biggest_tables(tables, streams, encoding)]
    return (
        PlannedPart("defs", PartKind.DEFINITIONS),
        *(PlannedPart(f"data-{number}", PartKind.TABLE, (name,)) for number, name in enumerate(big, 1)),
        PlannedPart("rest", PartKind.REST, tuple(big)),
        PlannedPart("roles", PartKind.ROLES),
    )


def biggest_tables(tables: Sequence[Table], streams: int, encoding: str = "UTF8") -> list[Table]:
    """Return the tables that get their own part, biggest first, until the rest is at most one stream's share."""
    total = remaining = sum(table.bytes for table in tables)
    chosen: list[Table] = []
    for table in sorted(tables, key=lambda table: (-table.bytes, table.schema, table.name)):
        if remaining <= total / streams or len(chosen) == min(MAX_TABLE_PARTS, streams + 1):
            break
        if table.own and table.bytes >= max(MIN_TABLE_BYTES, total / (8 * streams)) and _can_pass_name(table, encoding):
            chosen.append(table)
            remaining -= table.bytes
    return chosen


def _can_pass_name(table: Table, encoding: str) -> bool:
    """Whether --table can name it: pg_dump expects names in the database's encoding, and we pass UTF-8."""
    return encoding == "UTF8" or table.quoted.isascii()


def pg_dump(program: ClientProgram, conninfo: str, part: PlannedPart, snapshot: str, lock: timedelta) -> list[str]:
    """Return the command that dumps one part from the snapshot, uncompressed.

    The rest has the definitions, too: a program for each would lock every table once more.
    """
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


def _selection(part: PlannedPart) -> list[str]:
    if part.kind is PartKind.TABLE:
        return ["--section=data", "--strict-names", *(f"--table={name}" for name in part.tables)]
    return [f"--exclude-table-data={name}" for name in part.tables]


def pg_dumpall(program: ClientProgram, conninfo: str, database: str, *, passwords: bool) -> list[str]:
    """Return the command that dumps the roles. It connects to `database`, which the backup role can access.

    pg_dumpall takes a name with `=` for a connection string, which could lead it to another server.
    """
    no_passwords = [] if passwords else ["--no-role-passwords"]
    return [
        program.path,
        "--roles-only",
        *no_passwords,
        "--no-password",
        f"--database=dbname={quoting.conninfo_value(database)}",
        f"--dbname={conninfo}",
    ]


def milliseconds(limit: timedelta) -> int:
    """Return a limit in milliseconds, at least 1: the server and pg_dump take 0 as no limit."""
    return max(1, round(limit.total_seconds() * 1000))
