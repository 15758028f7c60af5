"""Take a backup set: one snapshot of a database, in parts that are streamed into the store in parallel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from jobs.backup.concurrent import ByteCounter, Cancellation, run_concurrently
from jobs.backup.postgres import settings
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.postgres.programs import ClientProgram, dump_program, installed_clients
from jobs.backup.sets.manifest import MANIFEST, Manifest, Part, PartKind, SourceServer, encode_manifest
from jobs.backup.sets.results import precise_timestamp
from jobs.backup.sets.sets import ENDED, new_set_id, set_prefix
from jobs.backup.take import facts
from jobs.backup.take.dump import LockTimeout, PartStream
from jobs.backup.take.parts import PlannedPart, pg_dump, pg_dumpall, plan_parts
from jobs.backup.take.snapshot import ExportedSnapshot, describe_lock_holder, export_snapshot, require_held
from jobs.run.job import Run, Transient

if TYPE_CHECKING:
    from inventories import DatabaseSettings, ServerSettings

    Section = DatabaseSettings | ServerSettings


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """All decisions and facts before the dump starts."""

    endpoint: Endpoint
    snapshot: ExportedSnapshot
    server: SourceServer
    program: ClientProgram
    parts: tuple[PlannedPart, ...]
    role_passwords: bool
    estimated_bytes: int


def plan_backup(section: Section, endpoint: Endpoint, snapshot: ExportedSnapshot) -> BackupPlan:
    """Read the facts about the server, and choose pg_dump and the parts."""
    connection = snapshot.connection
    server = facts.read_server(connection)
    encoding = connection.info.parameter_status("server_encoding") or ""
    return BackupPlan(
        endpoint=endpoint.pinned_to(connection),
        snapshot=snapshot,
        server=server,
        program=dump_program(server.major, installed_clients("pg_dump")),
        parts=plan_parts(snapshot.tables, section.parallel, encoding),
        role_passwords=facts.can_read_passwords(connection),
        estimated_bytes=facts.estimate_dump_bytes(connection),
    )


def take_set(run: Run, section: Section, endpoint: Endpoint, recipients: Sequence[str]) -> Manifest:
    """Take one set and return its manifest, which is written last: a set without a manifest is incomplete."""
    with export_snapshot(endpoint, section.limits.lock) as snapshot:
        plan = plan_backup(section, endpoint, snapshot)
        draft = draft_manifest(run, plan, recipients)
        prefix = set_prefix(draft.environment, draft.database, draft.set)
        run.log.info(
            "set started",
            set=draft.set,
            parts=len(plan.parts),
            bytes=plan.estimated_bytes,
            tables=len(draft.tables),
        )
        with run.step("dump"):
            parts, warnings, counts = dump_parts(run, section, plan, prefix, recipients)
            require_held(snapshot)
    manifest = replace(
        draft,
        parts=parts,
        tables=facts.table_rows(snapshot.tables, counts),
        notes=(*draft.notes, *warnings),
        ended=datetime.now(UTC),
    )
    run.check()
    run.store.put(f"{prefix}{ENDED}{precise_timestamp(manifest.ended)}", b"")
    for tag in manifest.tags:
        run.store.put(f"{prefix}tags/{tag}", b"")
    run.store.create(f"{prefix}{MANIFEST}", encode_manifest(manifest))
    return manifest


def draft_manifest(run: Run, plan: BackupPlan, recipients: Sequence[str]) -> Manifest:
    """Return the manifest before the dump.

    Sequences ignore the snapshot: read after the dump, they could be ahead of the dumped rows.
    """
    connection, now = plan.snapshot.connection, datetime.now(UTC)
    return Manifest(
        set=new_set_id(now),
        environment=run.environment.name,
        database=run.subject,
        started=now,
        ended=now,
        run=run.id,
        tags=run.options.tags,
        server=plan.server,
        tools=tool_versions(plan.program),
        recipients=tuple(recipients),
        settings=settings.read_properties(connection, connection.info.dbname),
        snapshot=plan.snapshot.name,
        parts=(),
        tables=facts.table_rows(plan.snapshot.tables, {}),
        sequences=facts.read_sequences(connection),
        extensions=facts.read_extensions(connection),
        large_objects=facts.count_large_objects(connection),
        notes=restore_notes(plan),
    )


def dump_parts(
    run: Run, section: Section, plan: BackupPlan, prefix: str, recipients: Sequence[str]
) -> tuple[tuple[Part, ...], tuple[str, ...], dict[int, int]]:
    """Dump all parts and count rows in parallel; return the stored parts, warnings, and counts by table OID."""
    cancellation, total = Cancellation(), ByteCounter()
    stream = PartStream(
        run, run.store, prefix, recipients, section.limits.stall, plan.endpoint.environment, total, cancellation
    )
    tasks: dict[str, Callable[[], Any]] = {
        part.name: partial(stream.dump, part, dump_command(plan, part, section.limits.lock)) for part in plan.parts
    }
    if section.counts:
        lock, standby = section.limits.lock, plan.server.standby
        tasks["counts"] = partial(facts.count_rows, cancellation, plan.endpoint, plan.snapshot, lock, standby=standby)

    def report() -> None:
        run.progress("dumped", total.bytes, plan.estimated_bytes if total.bytes < plan.estimated_bytes else None)

    try:
        results = run_concurrently(run, cancellation, tasks, report)
    except LockTimeout:
        raise Transient(describe_lock_holder(plan.endpoint, plan.snapshot.tables, section.limits.lock)) from None
    run.progress("dumped", total.bytes, total.bytes)
    counts = results.pop("counts", {})
    warnings = tuple(f"part {name}: {line}" for name, (_, lines) in results.items() for line in lines)
    return tuple(part for part, _ in results.values()), warnings, counts


def dump_command(plan: BackupPlan, part: PlannedPart, lock: timedelta) -> list[str]:
    """Return the command that dumps a part."""
    if part.kind is not PartKind.ROLES:
        return pg_dump(plan.program, plan.endpoint.conninfo, part, plan.snapshot.name, lock)
    program = dump_program(plan.server.major, installed_clients("pg_dumpall"), "pg_dumpall")
    database = plan.snapshot.connection.info.dbname
    return pg_dumpall(program, plan.endpoint.conninfo, database, passwords=plan.role_passwords)


def restore_notes(plan: BackupPlan) -> tuple[str, ...]:
    """Return what a person must know before they restore the set."""
    unlogged = [table.quoted for table in plan.snapshot.tables if table.unlogged]
    return (
        *((_NO_PASSWORDS,) if not plan.role_passwords else ()),
        *((_EMPTY_ON_STANDBY.format(", ".join(unlogged)),) if plan.server.standby and unlogged else ()),
    )


_NO_PASSWORDS = (
    "The roles were saved without passwords, because the backup role cannot read them; set them after a restore."
)
_EMPTY_ON_STANDBY = "Unlogged tables are empty, because the set was taken from a standby: {}."


def tool_versions(program: ClientProgram) -> dict[str, str]:
    """Return the versions of the programs and libraries that made the set."""
    import zstandard

    return {
        "groundcrew": _version("groundcrew"),
        "pg_dump": program.version,
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
        "age": f"pyrage {_version('pyrage')}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
