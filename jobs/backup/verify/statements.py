"""Run the team's own SQL on a restored database: each of its statements returns no row if all is well."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inventories.printable import printable
from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import Endpoint, translated_errors
from jobs.backup.restore.compare import Difference
from jobs.run.job import Run

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGconn, PGresult

ROWS_SHOWN = 5
LONGEST_ROW = 200  # characters
DEFAULT_PATH = '"$user", public'
_PAUSE = 0.5  # seconds between two looks at the time limit


@dataclass(frozen=True, slots=True)
class StatementRows:
    """A statement that returned rows: its number in the script, how many rows, and the first ones as text."""

    number: int
    rows: int
    shown: tuple[str, ...]


def script_differences(
    run: Run, endpoint: Endpoint, script: Path, settings: Sequence[str], limit: timedelta
) -> tuple[Difference, ...]:
    """Run a script in a restored database; return a difference for each statement with rows."""
    name = _relative(script, run.environment.folder)
    try:
        sql = script.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"verify_with: {name} can't be read: {error}; correct the file") from None
    with run.step("verify_with"), translated_errors(), endpoint.connect(autocommit=True) as connection:
        connection.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (search_path(settings),))
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET row_security = off")  # a policy that hides rows is an error
        found = run_statements(connection, sql, name, limit, run.check)
    return tuple(Difference("statement", f"{each.number} of {name}", 0, each.rows, each.shown) for each in found)


def _relative(script: Path, folder: Path) -> str:
    return str(script.relative_to(folder) if script.is_relative_to(folder) else script)


def search_path(settings: Sequence[str]) -> str:
    """Return the search_path that the settings of a database give to its sessions."""
    paths = [value for key, _, value in (setting.partition("=") for setting in settings) if key == "search_path"]
    return paths[-1] if paths else DEFAULT_PATH


def run_statements(
    connection: psycopg.Connection[Any], sql: str, name: str, limit: timedelta, check: Callable[[], None]
) -> list[StatementRows]:
    """Run all statements; return those with rows. Rows beyond the first few are counted and not kept."""
    pgconn = connection.pgconn
    pgconn.send_query(sql.encode())
    pgconn.set_single_row_mode()
    found: list[StatementRows] = []
    shown: list[str] = []
    rows, number = 0, 1
    for result in _results(pgconn, name, limit, check):
        kind = _kind(result)
        if kind == "row":
            rows += 1
            shown += [row_text(result)] * (len(shown) < ROWS_SHOWN)
            continue
        if kind != "end":
            reason = kind or "COPY needs a client; write a SELECT"
            raise BackupError(f"verify_with: statement {number} of {name} failed: {printable(reason)}")
        if rows:
            found.append(StatementRows(number, rows, tuple(shown)))
        rows, shown, number = 0, [], number + 1
    return found


def _results(pgconn: PGconn, name: str, limit: timedelta, check: Callable[[], None]) -> Iterator[PGresult]:
    """Yield the results as they come. The time limit is ours: code of the set can change that of its session."""
    end = time.monotonic() + limit.total_seconds()
    while True:
        while pgconn.is_busy():
            check()
            if time.monotonic() > end:
                seconds = limit.total_seconds()
                raise BackupError(f"verify_with: {name} took longer than {seconds:g} s; raise limits.verify_with")
            select.select([pgconn.socket], [], [], _PAUSE)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return
        yield result


def _kind(result: PGresult) -> str:
    """Return "row", "end" for the end of a statement, else the error; "" for COPY."""
    from psycopg.pq import DiagnosticField, ExecStatus

    if result.status == ExecStatus.SINGLE_TUPLE:
        return "row"
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY):
        return "end"
    if result.status == ExecStatus.FATAL_ERROR:
        message = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or result.error_message
        return (message or b"the connection was lost").decode(errors="replace")
    return ""


def row_text(result: PGresult) -> str:
    """Return the first row of a result as a printable line."""
    return values_text((result.fname(at), result.get_value(0, at)) for at in range(result.nfields))


def values_text(values: Iterable[tuple[bytes | None, bytes | None]]) -> str:
    """Return column=value pairs as a printable line of limited length."""
    pairs = (
        f"{(column or b'?').decode(errors='replace')}={'NULL' if value is None else value.decode(errors='replace')}"
        for column, value in values
    )
    text = printable(", ".join(pairs))
    return text if len(text) <= LONGEST_ROW else text[:LONGEST_ROW] + "…"
