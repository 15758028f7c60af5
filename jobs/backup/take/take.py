"""Take a backup set: one snapshot of a database, in parts that are streamed into the store in parallel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from inventories import ServerSettings
from jobs.backup.concurrent import ByteCounter, Cancellation, run_concurrently
from jobs.backup.errors import BackupError
from jobs.backup.postgres import settings
from jobs.backup.postgres.connection import PLAIN_MONEY, Endpoint, server_encoding
from jobs.backup.postgres.programs import (
    ClientProgram,
    dump_program,
    installed_clients,
    newest_psql,
    restore_program,
)
from jobs.backup.sets.description import Description
from jobs.backup.sets.manifest import MANIFEST, Manifest, Part, PartKind, SourceServer, encode_manifest
from jobs.backup.sets.marker import marker_name
from jobs.backup.sets.object_locks import lock_of_new_set
from jobs.backup.sets.segments import Segment
from jobs.backup.sets.sets import SIGNATURE, new_set_id, set_prefix
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE, SigningKey
from jobs.backup.sets.stored import StoredSet, wrong_pieces
from jobs.backup.sets.trust import sign_name
from jobs.backup.take import facts
from jobs.backup.take.definitions import Chunks, DefinitionsCopy
from jobs.backup.take.dump import LockTimeout, PartStream, store_description
from jobs.backup.take.parts import PlannedPart, PlannedRows, pg_dump, pg_dumpall, plan_parts, psql_copy
from jobs.backup.take.resume import abort_open_uploads, upload_again
from jobs.backup.take.roles import ChunksCopy, DumpedRoles, KnownRoles, RolesVersion, read_roles_version
from jobs.backup.take.segment import SegmentScript
from jobs.backup.take.snapshot import (
    ExportedSnapshot,
    describe_lock_holder,
    export_snapshot,
    require_same_names,
    require_unchanged,
)
from jobs.format import and_more
from jobs.run.job import Run, Transient
from jobs.store import LARGE_DOCUMENT_LIMIT, Denied, Exists

if TYPE_CHECKING:
    import psycopg

    from inventories import DatabaseSettings
    from jobs.store import ObjectLock, Store

    Section = DatabaseSettings | ServerSettings

_KNOWN_ROLES = KnownRoles()

LONG_BACKUP = timedelta(minutes=10)
"""A shorter one leaves others no time to remove its pieces, so it saves the request that would show it."""


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """All decisions and facts before the dump starts."""

    endpoint: Endpoint
    snapshot: ExportedSnapshot
    server: SourceServer
    program: ClientProgram
    lister: ClientProgram
    """The pg_restore that can list what `program` dumps."""
    parts: tuple[PlannedPart, ...]
    encoding: str
    copy_settings: tuple[str, ...]
    role_passwords: bool
    roles: RolesVersion | None
    """The version of the roles, if other databases of the server share them."""
    estimated_bytes: int


def plan_backup(run: Run, section: Section, endpoint: Endpoint, snapshot: ExportedSnapshot) -> BackupPlan:
    """Read the facts about the server, and choose pg_dump and the parts.

    A run that shares its turn plans fewer streams, however big the database has become: other databases use the rest.
    """
    connection = snapshot.connection
    server, role_passwords = facts.read_server(connection)
    encoding = server_encoding(connection)
    program = dump_program(server.major, installed_clients("pg_dump"))
    tables = facts.with_columns(connection, snapshot.tables, trust_owners=section.trust_owners)
    parts = plan_parts(tables, int(section.parallel * run.turn_share), encoding)
    return BackupPlan(
        endpoint=endpoint.pinned_to(connection).with_encoding(encoding).with_options(PLAIN_MONEY),
        snapshot=snapshot,
        server=server,
        program=program,
        lister=restore_program(program.major, program.major, installed_clients("pg_restore")),
        parts=parts,
        encoding=encoding,
        copy_settings=facts.copy_settings(connection) if any(part.rows for part in parts) else (),
        role_passwords=role_passwords,
        roles=_roles_version(section, server, connection, passwords=role_passwords),
        estimated_bytes=facts.estimate_dump_bytes(connection, snapshot.tables),
    )


def _roles_version(
    section: Section, server: SourceServer, connection: psycopg.Connection[Any], *, passwords: bool
) -> RolesVersion | None:
    if not isinstance(section, ServerSettings):
        return None
    return read_roles_version(connection, f"{section.url} {server.system_identifier}", passwords=passwords)


@dataclass(frozen=True, slots=True)
class TakenSet:
    """A set that was stored completely, and why parts of it were dumped again."""

    manifest: Manifest
    description: Description
    dumped_again: Mapping[str, str]


def take_set(
    run: Run, section: Section, endpoint: Endpoint, recipients: Sequence[str], signer: SigningKey | None
) -> TakenSet:
    """Take one set. Its manifest and its signature are written last: a set without them is incomplete."""
    with export_snapshot(endpoint, section.limits.lock) as snapshot:
        plan = plan_backup(run, section, endpoint, snapshot)
        draft = draft_manifest(run, plan, recipients)
        description = describe(plan)
        lock = lock_of_new_set(run.environment.store, section.keep, draft.started)
        prefix = set_prefix(draft.environment, draft.database, draft.set)
        run.log.info(
            "set started",
            set=draft.set,
            parts=len(plan.parts),
            bytes=plan.estimated_bytes,
            tables=len(description.tables),
        )
        with run.step("dump"):
            dumped = dump_parts(run, section, plan, prefix, recipients, lock=lock)
            require_same_names(snapshot)
    uncounted = uncounted_notes(plan, dumped.counts) if section.counts else ()
    description = replace(
        description,
        tables=facts.table_rows(snapshot.tables, dumped.counts),
        notes=(*description.notes, *uncounted, *dumped.warnings),
        segments=dumped.segments,
    )
    run.check()

    def describe_set(first: int) -> Part:
        return store_description(run.store, prefix, recipients, description, lock=lock, first=first)

    described, _ = upload_again(run, [PartKind.DESCRIPTION], describe_set)
    manifest = replace(draft, parts=(*dumped.parts, described), ended=datetime.now(UTC))
    run.wait_for_store()
    require_still_stored(run.store, manifest)
    upload_again(run, [MANIFEST], lambda _: publish_set(run.store, prefix, manifest, signer, lock))
    return TakenSet(manifest, description, dumped.again)


def require_still_stored(store: Store, manifest: Manifest) -> None:
    """Raise if a piece of a long backup is gone from the store, so that no complete set lacks one."""
    if manifest.ended - manifest.started < LONG_BACKUP:
        return
    with suppress(Denied):  # a backup needs no right to list
        for _, fault in wrong_pieces(StoredSet(manifest, store, None)):
            raise BackupError(
                f"set {manifest.set} was changed while it was written: {fault}. Find out who removes objects of new "
                "sets: a rule of the bucket, or retention on a machine whose clock is wrong"
            )


def publish_set(
    store: Store, prefix: str, manifest: Manifest, signer: SigningKey | None, lock: ObjectLock | None = None
) -> None:
    """Store the tags, the manifest and what signs it. The signature comes last, because it completes the set."""
    body = encode_manifest(manifest)
    for tag in manifest.tags:
        store.put(f"{prefix}tags/{tag}", b"")
    store.put(sign_name(prefix + marker_name(manifest, body), signer, MANIFEST_NAMESPACE), b"", lock)
    _create(store, f"{prefix}{MANIFEST}", body, lock)
    if signer is not None:
        _create(store, f"{prefix}{SIGNATURE}", signer.sign(body, MANIFEST_NAMESPACE), lock)


def _create(store: Store, key: str, body: bytes, lock: ObjectLock | None) -> None:
    """Create an object, unless an earlier try has created it and its answer was lost."""
    try:
        store.create(key, body, lock)
    except Exists:
        if store.get(key, LARGE_DOCUMENT_LIMIT).body != body:
            raise


def draft_manifest(run: Run, plan: BackupPlan, recipients: Sequence[str]) -> Manifest:
    """Return the manifest before the dump."""
    now = datetime.now(UTC)
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
        parts=(),
    )


def describe(plan: BackupPlan) -> Description:
    """Return the description of the database, before its rows are counted.

    Sequences ignore the snapshot: read after the dump, they could be ahead of the dumped rows.
    """
    connection = plan.snapshot.connection
    properties, left_out = settings.read_properties(connection, connection.info.dbname)
    return Description(
        settings=properties,
        snapshot=plan.snapshot.name,
        tables=facts.table_rows(plan.snapshot.tables, {}),
        sequences=facts.read_sequences(connection),
        extensions=facts.read_extensions(connection),
        large_objects=facts.count_large_objects(connection),
        table_parts={part.name: part.rows.table.quoted for part in plan.parts if part.rows is not None},
        notes=(*restore_notes(plan), *left_out, *extension_notes(facts.tables_added_to_extensions(connection))),
        plain_money=True,
    )


@dataclass(frozen=True, slots=True)
class DumpedParts:
    """The stored parts, and what is known once all of them are stored."""

    parts: tuple[Part, ...]
    warnings: tuple[str, ...]
    counts: Mapping[int, int]
    """The numbers of rows by table OID."""
    segments: Mapping[str, Segment]
    again: Mapping[str, str]
    """Why parts were dumped again."""


def dump_parts(
    run: Run,
    section: Section,
    plan: BackupPlan,
    prefix: str,
    recipients: Sequence[str],
    *,
    lock: ObjectLock | None,
) -> DumpedParts:
    """Dump all parts and count rows in parallel. A part whose upload breaks off is dumped again."""
    cancellation = Cancellation()
    stream = PartStream(
        run, run.store, prefix, recipients, lock, section.limits.stall, plan.endpoint.environment, ByteCounter(),
        cancellation, section.compression,
    )  # fmt: skip
    scripts = {part.name: SegmentScript(part.rows.table, plan.encoding) for part in plan.parts if part.rows is not None}
    groups = [
        PartGroup(parts, stream, plan, section.limits.lock, scripts.get(parts[0].name))
        for parts in dumped_together(plan.parts)
    ]
    tasks: dict[str, Callable[[], Any]] = {" and ".join(group.names): group.dump for group in groups}
    if section.counts:
        counted = {script.table.oid for script in scripts.values()}
        standby = plan.server.standby
        tasks["counts"] = partial(facts.count_rows, cancellation, plan.snapshot, standby=standby, counted=counted)

    def report() -> None:
        done = sum(group.total.bytes for group in groups)
        run.progress("dumped", done, plan.estimated_bytes if done < plan.estimated_bytes else None)

    try:
        counts = run_concurrently(run, cancellation, tasks, report).get("counts", {})
    except LockTimeout:
        raise Transient(describe_lock_holder(plan.endpoint, plan.snapshot.tables, section.limits.lock)) from None
    done = sum(group.total.bytes for group in groups)
    run.progress("dumped", done, done)
    results = {name: result for group in groups for name, result in group.results.items()}
    return DumpedParts(
        parts=tuple(results[part.name][0] for part in plan.parts),
        warnings=tuple(f"part {part.name}: {line}" for part in plan.parts for line in results[part.name][1]),
        counts=counts_with_segments(counts, scripts.values()),
        segments={name: script.segment for name, script in scripts.items()},
        again={name: group.reasons[-1] for group in groups if group.reasons for name in group.names},
    )


def counts_with_segments(counts: Mapping[int, int], scripts: Iterable[SegmentScript]) -> dict[int, int]:
    """Return the numbers of rows by table OID, also of the tables whose rows were counted in their segments."""
    total = Counter(counts)
    for script in scripts:
        total[script.table.oid] += script.segment.rows
    return dict(total)


def dumped_together(parts: Sequence[PlannedPart]) -> list[tuple[PlannedPart, ...]]:
    """Return the parts in groups. A program dumps the definitions with the rest, so they fail together, too."""
    pair = tuple(part for part in parts if part.kind in {PartKind.DEFINITIONS, PartKind.REST})
    return [pair, *((part,) for part in parts if part not in pair)]


@dataclass
class PartGroup:
    """Parts that one program dumps, their results, and why uploads of them broke off."""

    parts: Sequence[PlannedPart]
    stream: PartStream
    plan: BackupPlan
    lock: timedelta
    script: SegmentScript | None = None
    results: Mapping[str, tuple[Part, tuple[str, ...]]] = field(default_factory=dict)
    reasons: Sequence[str] = ()
    total: ByteCounter = field(default_factory=ByteCounter)

    @property
    def names(self) -> list[str]:
        return [part.name for part in self.parts]

    def dump(self) -> None:
        """Dump the parts; again if their upload breaks off, and the snapshot's connection has the tables locked."""
        if self.plan.snapshot.locks_tables:
            check = self.stream.cancellation.check
            self.results, self.reasons = upload_again(self.stream.run, self.names, self._dump, check)
        else:
            self.results = self._dump()

    def _dump(self, first: int = 0) -> Mapping[str, tuple[Part, tuple[str, ...]]]:
        if first:
            for name in self.names:
                abort_open_uploads(self.stream.store, self.stream.prefix + name)
        self.total = ByteCounter()
        with self.stream.cancellation.subgroup() as group, closing(DefinitionsCopy(group)) as definitions:
            stream = replace(self.stream, total=self.total, cancellation=group, first=first)
            tasks = {part.name: self._task(part, stream, definitions) for part in self.parts}
            return run_concurrently(stream.run, group, tasks)

    def _task(self, part: PlannedPart, stream: PartStream, definitions: DefinitionsCopy) -> Callable[[], Any]:
        """Return the function that dumps a part. The rest has the definitions, which become their own part."""
        if part.kind is PartKind.DEFINITIONS:
            return partial(stream.store_definitions, part, definitions)
        command = dump_command(self.plan, part, self.lock)
        if self.script is not None:
            return partial(stream.dump, part, command, self.script.around)
        if part.kind is PartKind.ROLES and self.plan.roles is not None:
            return partial(dump_shared_roles, stream, part, command, self.plan.roles)
        if part.kind is not PartKind.REST:
            return partial(stream.dump, part, command)

        def watch(chunks: Chunks) -> Chunks:
            return definitions.copied_from(_checked(chunks, self.plan), stream.run, self.plan.lister)

        return partial(stream.dump, part, command, watch)


def dump_shared_roles(
    stream: PartStream, part: PlannedPart, command: Sequence[str], version: RolesVersion
) -> tuple[Part, tuple[str, ...]]:
    """Store the roles of a server as a part. They are dumped only if they have changed since their last dump."""
    roles = _KNOWN_ROLES.find(version)
    if roles is not None:
        return stream.store_bytes(part, roles.body), roles.warnings
    copy = ChunksCopy()
    stored, warnings = stream.dump(part, command, copy.copied_from)
    _KNOWN_ROLES.remember(version, DumpedRoles(bytes(copy.body), warnings))
    return stored, warnings


def _checked(chunks: Chunks, plan: BackupPlan) -> Chunks:
    """Yield the archive of the rest, after checking that no table has changed. Once it begins, all locks are held."""
    first = next(chunks, None)
    require_unchanged(plan.endpoint, plan.snapshot)
    if first is not None:
        yield first
        yield from chunks


def dump_command(plan: BackupPlan, part: PlannedPart, lock: timedelta) -> list[str]:
    """Return the command that dumps a part."""
    if part.rows is not None:
        return _copy_command(plan, part.rows, lock)
    if part.kind is not PartKind.ROLES:
        return pg_dump(plan.program, plan.endpoint.conninfo, part, plan.snapshot.name, lock)
    program = dump_program(plan.server.major, installed_clients("pg_dumpall"), "pg_dumpall")
    database = plan.snapshot.connection.info.dbname
    return pg_dumpall(program, plan.endpoint.conninfo, database, passwords=plan.role_passwords)


def _copy_command(plan: BackupPlan, rows: PlannedRows, lock: timedelta) -> list[str]:
    return psql_copy(newest_psql(), plan.endpoint.conninfo, rows, plan.snapshot.name, lock, settings=plan.copy_settings)


def restore_notes(plan: BackupPlan) -> tuple[str, ...]:
    """Return what a person must know before they restore the set."""
    unlogged = [table.quoted for table in plan.snapshot.tables if table.unlogged]
    return (
        *((_NO_PASSWORDS,) if not plan.role_passwords else ()),
        *((_EMPTY_ON_STANDBY.format(", ".join(unlogged)),) if plan.server.standby and unlogged else ()),
    )


def extension_notes(tables: Sequence[str]) -> tuple[str, ...]:
    """Return a note on the tables that no dump contains, because they belong to an extension."""
    return (_OF_EXTENSIONS.format(and_more(tables, _SHOWN)),) if tables else ()


def uncounted_notes(plan: BackupPlan, counts: Mapping[int, int]) -> tuple[str, ...]:
    """Return a note on the tables that other sessions were changing, so that their rows were not counted."""
    names = [table.quoted for table in plan.snapshot.tables if table.leaf and table.own and table.oid not in counts]
    return (_NOT_COUNTED.format(and_more(names, _SHOWN)),) if names else ()


_SHOWN = 5
_NOT_COUNTED = "Rows were not counted, because another session was about to change the table: {}."
_OF_EXTENSIONS = (
    "Not in the set: tables that belong to an extension ({}); after ALTER EXTENSION … DROP TABLE …, sets have them."
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


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
