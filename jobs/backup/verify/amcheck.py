"""Check tables and indexes of a scratch server with pg_amcheck, where the server has the extension."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inventories.printable import printable
from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import Endpoint, translated_errors
from jobs.backup.restore.compare import Difference
from jobs.run.job import Run

if TYPE_CHECKING:
    from jobs.backup.postgres.programs import ClientProgram

FIRST_MAJOR = 14
LINES_SHOWN = 5
LONGEST_LINE = 200
_CORRUPTION = 2  # pg_amcheck's exit code
_AVAILABLE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck')"
# Of collations in use: an index sorted by another version of the C library or ICU looks corrupt, and is not.
_OTHER_COLLATIONS = """SELECT DISTINCT collname::pg_catalog.text FROM pg_catalog.pg_collation c
    JOIN pg_catalog.pg_attribute a ON attcollation = c.oid JOIN pg_catalog.pg_class r ON r.oid = attrelid
    WHERE relkind IN ('i', 'I') AND collversion IS DISTINCT FROM pg_catalog.pg_collation_actual_version(c.oid)
        AND collversion IS NOT NULL"""
_OTHER_DEFAULT = """SELECT datcollate::pg_catalog.text FROM pg_catalog.pg_database d
    WHERE datname = pg_catalog.current_database() AND datcollversion IS NOT NULL
        AND datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(d.oid)"""
_FIRST_WITH_DATABASE_VERSION = 15
# Before 15, a database does not know the version of its own collation.
_UNKNOWN_DEFAULT = """SELECT datcollate::pg_catalog.text FROM pg_catalog.pg_database
    WHERE datname = pg_catalog.current_database() AND datcollate !~ '^(C|POSIX)(\\.|$)'"""


@dataclass(frozen=True, slots=True)
class AmcheckResult:
    """What pg_amcheck found, and why something was not checked."""

    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


def pg_amcheck_for(major: int, installed: Iterable[ClientProgram]) -> str:
    """Return the path of the pg_amcheck that fits a server best; "" if none does."""
    fitting = [(each.major, each.path) for each in installed if each.major >= major >= FIRST_MAJOR]
    return min(fitting, default=(0, ""))[1]


def run_amcheck(
    run: Run, program: str, server: Endpoint, databases: Sequence[str], *, built_here: bool
) -> AmcheckResult:
    """Check tables and indexes of databases as a superuser. `built_here`: the indexes were sorted on this machine."""
    if not program:
        return AmcheckResult(notes=("amcheck did not run: no pg_amcheck is installed; PostgreSQL 14 or newer has it",))
    differences, notes = list[Difference](), list[str]()
    with run.step("amcheck"):
        for database in databases:
            into = server.with_database(database)
            with translated_errors(), into.connect(autocommit=True) as connection:
                if connection.execute(_AVAILABLE).fetchone() != (True,):
                    return AmcheckResult(notes=("amcheck did not run: the server lacks the extension",))
                major = connection.info.server_version // 10000
                of_default = _OTHER_DEFAULT if major >= _FIRST_WITH_DATABASE_VERSION else _UNKNOWN_DEFAULT
                queries = () if built_here else (_OTHER_COLLATIONS, of_default)
                others = [name for query in queries for (name,) in connection.execute(query).fetchall()]
            if others:
                notes.append(
                    f"amcheck left the indexes of {printable(database)} out: this machine sorts {printable(others[0])} "
                    "in another version, or in one that the cluster does not name"
                )
            differences += _findings(run, program, into, database, indexes=not others)
    return AmcheckResult(tuple(differences), tuple(notes))


def amcheck_command(program: str, endpoint: Endpoint, *, indexes: bool) -> list[str]:
    """Return the command that checks one database. It has no password in its arguments."""
    address = [f"--{option}={endpoint.parameters[key]}" for option, key in _ADDRESS.items()]
    limits = [] if indexes else ["--no-dependent-indexes", "--exclude-index=*"]
    name = quoting.identifier(endpoint.database)  # it is a pattern
    return [program, *address, "--no-password", "--install-missing", "--jobs=2", *limits, f"--database={name}"]


_ADDRESS = {"host": "host", "port": "port", "username": "user"}


def _findings(run: Run, program: str, into: Endpoint, database: str, *, indexes: bool) -> list[Difference]:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        command = amcheck_command(program, into, indexes=indexes)
        process = run.process(command, stdout=output, stderr=errors, env=into.environment)
        code = process.wait()
        run.check()
        output.seek(0)
        errors.seek(0)
        said = errors.read(20_000).decode(errors="replace")
        found = list(parse_findings(output.read(10_000_000).decode(errors="replace")))
    if code and (code != _CORRUPTION or not found):
        lines = [printable(line) for line in said.splitlines() if line.strip()]
        raise BackupError(f"pg_amcheck failed in {printable(database)}: {lines[0] if lines else f'exit code {code}'}")
    return found


def parse_findings(output: str) -> Iterator[Difference]:
    """Yield a difference for each table and index that pg_amcheck reports: a line for it, and indented ones."""
    name, lines = "", list[str]()
    for line in [*output.splitlines(), "end"]:
        if line.startswith((" ", "\t")):
            lines.append(printable(line.strip())[:LONGEST_LINE])
            continue
        if name:
            yield Difference("amcheck", name, None, max(1, len(lines)), tuple(lines[:LINES_SHOWN]))
        name, lines = printable(line.rstrip(":"))[:LONGEST_LINE], []
