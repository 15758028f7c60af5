#!/usr/bin/python3
"""Name what a former primary wrote after another server was promoted. Runs on the host, as postgres.

    postgres-split-report DATA_FOLDER CONFIG_FILE PROGRAMS_FOLDER NEW_TIMELINE FOLDER < HISTORY

HISTORY is the history of the new primary's timeline. The folder gets `summary`, and a CSV file of rows per table. To
read the rows, the former primary runs for a moment, read-only and without a network. It needs only Python's standard
library.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

SEGMENT = 16 * 1024**2
LOOK_BACK = 4 * SEGMENT  # a transaction that was committed after the split can have written before it
RECORD = re.compile(r"rmgr: (\S+) .*?tx: +(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .*?desc: (\S+)(.*)")
BLOCK = re.compile(r"rel (\d+)/(\d+)/(\d+)")
TUPLES = re.compile(r"(\d+) tuples|ntuples: (\d+)")  # PostgreSQL 15, and newer ones
KINDS = {
    "INSERT": "inserted",
    "MULTI_INSERT": "inserted",
    "UPDATE": "updated",
    "HOT_UPDATE": "updated",
    "DELETE": "deleted",
}
COMMIT_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [^\s;]+")
FIRST_OWN_NUMBER = 16384  # tables with lower numbers are PostgreSQL's own
NAMES = (
    "SELECT pg_catalog.pg_relation_filenode(oid), oid::pg_catalog.regclass FROM pg_catalog.pg_class "
    "WHERE relkind IN ('r', 'm') AND pg_catalog.pg_relation_filenode(oid) IN ({})"
)
ROWS = "COPY (SELECT * FROM ONLY {} WHERE xmin::pg_catalog.text IN ({})) TO STDOUT WITH (FORMAT csv, HEADER)"


class WalRecord(NamedTuple):
    """A line of pg_waldump."""

    manager: str
    transaction: str
    lsn: str
    what: str
    rest: str


@dataclass
class Written:
    """What transactions that were committed after the split wrote."""

    commits: int = 0
    first: str = ""
    last: str = ""
    transactions: set[str] = field(default_factory=set)
    changes: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # by database, file and kind
    end: str = ""

    @property
    def files(self) -> list[tuple[str, str]]:
        """The databases and files of tables with changes, in order."""
        return sorted({(database, file) for database, file, _ in self.changes}, key=lambda each: tuple(map(int, each)))


def position(text: str) -> int:
    """Return a position in the WAL, such as 0/3000060, as a number of bytes."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def wal_position(number: int) -> str:
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def ends_of_timelines(history: str, current: int) -> dict[int, int]:
    """Return where each timeline of a history ended; the current one has no end yet."""
    rows = (line.split() for line in history.splitlines() if line.strip() and not line.startswith("#"))
    return {int(row[0]): position(row[1]) for row in rows if len(row) > 1 and row[0].isdigit()} | {current: sys.maxsize}


def split_point(own: Mapping[int, int], other: Mapping[int, int]) -> tuple[int, int]:
    """Return the newest timeline that two histories share, and where they part on it."""
    shared = max(own.keys() & other.keys())
    return shared, min(own[shared], other[shared])


def committed(records: Iterable[WalRecord], split: int) -> Written:
    """Return the transactions that committed at or after the split, with their parts, and no changes yet."""
    written = Written()
    for manager, transaction, lsn, what, rest in records:
        if position(lsn) < split:
            continue
        written.end = lsn
        if manager == "Transaction" and what.startswith("COMMIT"):
            written.commits += 1
            top = rest.strip().partition(":")[0] if what == "COMMIT_PREPARED" else transaction
            parts = re.search(r"subxacts:((?: \d+)+)", rest)
            written.transactions |= {top, *(parts[1].split() if parts else ())}
            if when := COMMIT_TIME.search(rest):
                written.first = written.first or when[0]
                written.last = when[0]
    return written


def count_changes(records: Iterable[WalRecord], written: Written) -> None:
    """Count the changed rows of these transactions by table."""
    for manager, transaction, _, what, rest in records:
        block = BLOCK.search(rest)
        if transaction not in written.transactions or manager not in {"Heap", "Heap2"} or not block:
            continue
        kind = what.partition("+")[0]
        rows = TUPLES.search(rest) if kind == "MULTI_INSERT" else None
        if kind in KINDS:
            written.changes[block[2], block[3], KINDS[kind]] += int(rows[1] or rows[2]) if rows else 1


def read_wal(programs: str, wal: Path, timeline: int, start: int) -> Iterator[WalRecord]:
    """Yield the records from a position to the end of the WAL, which pg_waldump reports as an error."""
    command = [f"{programs}/pg_waldump", f"--path={wal}", f"--timeline={timeline}", f"--start={wal_position(start)}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as dump:
        assert dump.stdout
        for line in dump.stdout:
            if found := RECORD.match(line):
                yield WalRecord(*found.groups())


def first_segment(names: Iterable[str], timeline: int, split: int, size: int = SEGMENT) -> int | None:
    """Return where to start to read; None if the segment of the split is not there any more."""
    per_log = 2**32 // size
    numbers = {
        int(name[8:16], 16) * per_log + int(name[16:24], 16)
        for name in names
        if re.fullmatch(r"[0-9A-F]{24}", name) and int(name[:8], 16) == timeline
    }
    number = split // size
    if number not in numbers:
        return None
    while number - 1 in numbers and split - (number - 1) * size <= LOOK_BACK:
        number -= 1
    return number * size


class ReadOnlyServer:
    """The former primary, which replays its own WAL and answers only here."""

    def __init__(self, data: str, config: str, programs: str, folder: Path) -> None:
        settings = {
            "config_file": config,
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(folder),
            "unix_socket_permissions": "0700",
            "primary_conninfo": "",
            "primary_slot_name": "",
            "restore_command": "",
            "archive_mode": "off",
            "logging_collector": "off",
            "hot_standby": "on",
            "external_pid_file": "",
            "recovery_target_timeline": "current",
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self.control = [f"{programs}/pg_ctl", f"--pgdata={data}", "--wait", "--timeout=3600", f"--log={folder}/log"]
        self.options, self.folder = options, folder

    def __enter__(self) -> ReadOnlyServer:
        subprocess.run([*self.control, "start", f"--options={self.options}"], check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        stop = [each for each in self.control if not each.startswith("--log")]
        subprocess.run([*stop, "--mode=fast", "stop"], check=True, stdout=subprocess.DEVNULL)

    def ask(self, database: str, sql: str) -> list[list[str]]:
        """Return the rows of an answer."""
        with tempfile.TemporaryFile("w+") as answer:
            self.save(database, f"COPY ({sql}) TO STDOUT WITH (FORMAT csv)", answer)
            answer.seek(0)
            return list(csv.reader(answer))

    def save(self, database: str, sql: str, into: IO[str]) -> None:
        """Save an answer. Without a search_path, no function of a user takes the place of PostgreSQL's own."""
        command = ["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--host={self.folder}", "--port=5432"]
        environment = {"PGOPTIONS": "-c search_path=", "PATH": "/usr/bin:/bin"}
        subprocess.run(
            [*command, f"--dbname={database}"], input=sql, stdout=into, check=True, text=True, env=environment
        )


def save_rows(server: ReadOnlyServer, written: Written, folder: Path) -> dict[tuple[str, str], tuple[str, int, str]]:
    """Save the rows of each table; return by database and file: the table's name, the number of rows, and the file."""
    saved: dict[tuple[str, str], tuple[str, int, str]] = {}
    transactions = ", ".join(f"'{each}'" for each in sorted(written.transactions))
    for oid, name in server.ask("postgres", "SELECT oid, datname FROM pg_catalog.pg_database"):
        files = [file for database, file in written.files if database == oid and int(file) >= FIRST_OWN_NUMBER]
        connection = "dbname='" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"
        for file, table in server.ask(connection, NAMES.format(", ".join(files))) if files else ():
            path = folder / f"rows-{len(saved) + 1}.csv"
            with path.open("w+") as rows:
                server.save(connection, ROWS.format(table, transactions), rows)
                rows.seek(0)
                saved[oid, file] = (f"{name}: {table}", max(sum(1 for _ in csv.reader(rows)) - 1, 0), path.name)
    return saved


def summary_lines(
    written: Written, split: str, timeline: int, tables: Mapping[tuple[str, str], tuple[str, int, str]]
) -> Iterator[str]:
    """Yield what a person must know."""
    if not written.commits:
        yield f"after the split at {split} of timeline {timeline}, no transaction was committed here"
        return
    yield (
        f"after the split at {split} of timeline {timeline}, {written.commits} transactions were committed here, from "
        f"{written.first} to {written.last}; the WAL ends after {written.end}"
    )
    others = 0
    for database, file in written.files:
        counts = {kind: written.changes[database, file, kind] for kind in ("inserted", "updated", "deleted")}
        text = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
        if (database, file) in tables:
            name, rows, path = tables[database, file]
            yield f"{name}: {text}; {rows} rows as they were at the end: {path}"
        elif int(file) < FIRST_OWN_NUMBER:
            others += sum(counts.values())
        else:
            yield f"database {database}, file {file}, which is no longer a table, or a part of one (TOAST): {text}"
    if others:
        yield f"{others} changes of PostgreSQL's own tables: definitions, roles, statistics"
    if any(kind == "deleted" for *_, kind in written.changes):
        yield "deleted rows still exist on the new primary"


def main(arguments: list[str]) -> None:
    data, config, programs, new_timeline, target = arguments
    folder, wal = Path(target), Path(data, "pg_wal")
    control = subprocess.run(
        [f"{programs}/pg_controldata", data], stdout=subprocess.PIPE, check=True, text=True, env={"LC_ALL": "C"}
    ).stdout
    timeline = int(re.findall(r"Latest checkpoint's TimeLineID: +(\d+)", control)[0])
    size = int(re.findall(r"Bytes per WAL segment: +(\d+)", control)[0])
    own_history = Path(wal, f"{timeline:08X}.history")
    own = ends_of_timelines(own_history.read_text() if own_history.exists() else "", timeline)
    other = ends_of_timelines(sys.stdin.read(), int(new_timeline))
    shared, split = split_point(own, other)
    start = first_segment((file.name for file in wal.iterdir()), timeline, split, size)
    if start is None:
        where = f"{wal_position(split)} of timeline {shared}"
        lines = [f"the WAL from the split at {where} is not here any more: what was written after it can't be named"]
    else:
        written = committed(read_wal(programs, wal, timeline, start), split)
        tables: dict[tuple[str, str], tuple[str, int, str]] = {}
        failure = ""
        if written.commits:
            count_changes(read_wal(programs, wal, timeline, start), written)
            try:
                with ReadOnlyServer(data, config, programs, folder) as server:
                    tables = save_rows(server, written, folder)
            except subprocess.CalledProcessError as error:
                failure = f"the rows could not be read: {error.cmd[0]} failed; the tables have numbers instead"
        lines = [*summary_lines(written, wal_position(split), shared, tables), *([failure] if failure else [])]
    (folder / "summary").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main(sys.argv[1:])
