"""Plan the parts of a backup set, and build the command that dumps each part.

The rows of a big table are segments: a COPY by psql each. A segment of some pages of a table is a query, and to plan a
query on a table, PostgreSQL can call functions of its owner, see counting.py. So a table is divided only if its owner
could not gain any rights by that, or is trusted. Of another table, one COPY takes all rows, which plans nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobs.backup.postgres import quoting
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.sets.manifest import PartKind
from jobs.backup.sets.segments import column_list

MAX_TABLE_PARTS = 20  # in databases with many tables, each --exclude-table-data slows pg_dump down
MIN_TABLE_BYTES = 16 << 20  # for smaller tables, another program costs more than it saves
MIN_SEGMENT_BYTES = 16 << 20
MAX_NAMES = 20_000  # characters; Linux limits an argument of a program to 128 KiB


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
    columns: tuple[str, ...] = ()
    """The columns that COPY writes; none if only pg_dump can dump the table. Known of big tables only."""
    pages: int = 0
    """How many pages segments can divide; 0 if one COPY must take all rows."""
    trusted: bool = True
    """False if a query by pages could call functions of an owner that is not trusted."""

    @property
    def quoted(self) -> str:
        """The quoted name, for SQL and for the patterns of pg_dump, where quotes disable all wildcards."""
        return quoting.identifier(self.schema, self.name)


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """A part before it is dumped."""

    name: str
    kind: PartKind
    excluded: tuple[str, ...] = ()
    """The tables whose rows are not in the rest."""
    rows: PlannedRows | None = None


@dataclass(frozen=True, slots=True)
class PlannedRows:
    """The rows of a segment: those of some pages of a table. None is an open end: pages can be added at any time."""

    table: Table
    first: int | None = None
    end: int | None = None
    undivided: bool = False
    """Whether this would be several segments if the owner of the table was trusted."""


def plan_parts(tables: Sequence[Table], streams: int, encoding: str = "UTF8") -> tuple[PlannedPart, ...]:
    """Return the parts: definitions, the segments of big tables, the rest, the roles."""
    big = biggest_tables(tables, streams, encoding)
    share = sum(table.bytes for table in tables) / streams
    segments = [
        PlannedPart(f"rows-{number}-{segment}", PartKind.SEGMENT, rows=rows)
        for number, table in enumerate(big, 1)
        for segment, rows in enumerate(divide_rows(table, share), 1)
    ]
    return (
        PlannedPart("defs", PartKind.DEFINITIONS),
        *segments,
        PlannedPart("rest", PartKind.REST, tuple(table.quoted for table in big)),
        PlannedPart("roles", PartKind.ROLES),
    )


def divide_rows(table: Table, share: float) -> list[PlannedRows]:
    """Divide a table into segments of at most a stream's share of all bytes, give or take a tenth."""
    number = min(math.ceil(table.bytes / share - 0.1), table.bytes // MIN_SEGMENT_BYTES, table.pages)
    if number <= 1 or not table.trusted:
        return [PlannedRows(table, undivided=number > 1)]
    borders = [None, *(table.pages * each // number for each in range(1, number)), None]
    return [PlannedRows(table, first, end) for first, end in itertools.pairwise(borders)]


def biggest_tables(tables: Sequence[Table], streams: int, encoding: str = "UTF8") -> list[Table]:
    """Return the tables that get their own part, biggest first, until the rest is at most one stream's share."""
    total = remaining = sum(table.bytes for table in tables)
    chosen: list[Table] = []
    for table in sorted(tables, key=lambda table: (-table.bytes, table.schema, table.name)):
        if remaining <= total / streams or len(chosen) == min(MAX_TABLE_PARTS, streams + 1):
            break
        if table.bytes >= max(MIN_TABLE_BYTES, total / (8 * streams)) and _is_for_psql(table, encoding):
            chosen.append(table)
            remaining -= table.bytes
    return chosen


def candidates(tables: Sequence[Table]) -> list[Table]:
    """Return the tables that can be big enough for segments, biggest first."""
    big = (table for table in tables if table.leaf and table.own and table.bytes >= MIN_TABLE_BYTES)
    return sorted(big, key=lambda table: -table.bytes)[: 2 * MAX_TABLE_PARTS]


def _is_for_psql(table: Table, encoding: str) -> bool:
    """Whether psql can copy it. Its names stand in commands and scripts, in the encoding of the database."""
    names = (table.schema, table.name, *table.columns)
    return bool(table.columns) and sum(map(len, names)) < MAX_NAMES and (encoding == "UTF8" or "".join(names).isascii())


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
        *(f"--exclude-table-data={name}" for name in part.excluded),
        f"--dbname={conninfo}",
    ]


def psql_copy(
    program: ClientProgram, conninfo: str, rows: PlannedRows, snapshot: str, lock: timedelta, *, settings: Sequence[str]
) -> list[str]:
    """Return the command that writes the rows of a segment to stdout, after the statements of `settings`."""
    statements = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        f"SET TRANSACTION SNAPSHOT {quoting.literal(snapshot)}",
        *settings,
        f"SET LOCAL lock_timeout = {milliseconds(lock)}",
        f"LOCK TABLE ONLY {rows.table.quoted} IN ACCESS SHARE MODE",
        "SET LOCAL lock_timeout = 0",
        copy_out_statement(rows),
    ]
    return [
        program.path,
        *("--no-psqlrc", "--no-password", "--quiet", "--set=VERBOSITY=terse"),
        f"--command={'; '.join(statements)}",
        f"--dbname={conninfo}",
    ]


def copy_out_statement(rows: PlannedRows) -> str:
    """Return the COPY that writes the rows of a segment."""
    columns = column_list(rows.table.columns)
    bounds = [
        *([f"ctid >= '({rows.first},0)'"] if rows.first is not None else []),
        *([f"ctid < '({rows.end},0)'"] if rows.end is not None else []),
    ]
    if not bounds:
        return f"COPY {rows.table.quoted} ({columns}) TO STDOUT"
    query = " ".join(["SELECT", columns, "FROM ONLY", rows.table.quoted, "WHERE", " AND ".join(bounds)])
    return f"COPY ({query}) TO STDOUT"


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
