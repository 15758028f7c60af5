"""Takes a backup set: one moment of a database, in parts that are streamed side by side into the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from jobs.backup.concurrent import ByteCounter, Cancellation, run_together
from jobs.backup.postgres import settings
from jobs.backup.postgres.connection import Reached
from jobs.backup.postgres.programs import Program, dumper, installed
from jobs.backup.sets.manifest import NAME, Manifest, Part, PartKind, Server, written
from jobs.backup.sets.sets import new_id, prefix
from jobs.backup.take import facts, snapshot
from jobs.backup.take.dump import LockTimeout, Stream
from jobs.backup.take.parts import Planned, pg_dump, pg_dumpall, plan
from jobs.run.job import Run, Transient

if TYPE_CHECKING:
    from inventories import DatabaseSettings
    from inventories import ServerSettings as ServerSection

    Section = DatabaseSettings | ServerSection


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What is known of the database before the first byte is dumped."""

    reached: Reached
    moment: snapshot.Snapshot
    server: Server
    program: Program
    planned: tuple[Planned, ...]
    passwords: bool
    bytes: int


def plan_backup(section: Section, reached: Reached, moment: snapshot.Snapshot) -> BackupPlan:
    """Ask which server it is, and decide on the program and the parts."""
    connection = moment.connection
    server = facts.server(connection)
    encoding = connection.info.parameter_status("server_encoding") or ""
    return BackupPlan(
        reached=reached.held_to(connection),
        moment=moment,
        server=server,
        program=dumper(server.major, installed("pg_dump")),
        planned=plan(moment.tables, section.parallel, encoding),
        passwords=facts.shows_passwords(connection),
        bytes=facts.to_dump(connection),
    )


def take(run: Run, section: Section, reached: Reached, recipients: Sequence[str]) -> Manifest:
    """Take one set. It exists once its manifest is written, which is the last thing to happen."""
    with snapshot.held(reached, section.limits.lock) as moment:
        seen = plan_backup(section, reached, moment)
        draft = drafted(run, seen, recipients)
        where = prefix(draft.environment, draft.database, draft.set)
        run.log.info("set begun", set=draft.set, parts=len(seen.planned), bytes=seen.bytes, tables=len(draft.tables))
        with run.step("dump"):
            parts, warnings, counts = dumped(run, section, seen, where, recipients)
    manifest = replace(
        draft,
        parts=parts,
        tables=facts.rows(moment.tables, counts),
        notes=(*draft.notes, *warnings),
        ended=datetime.now(UTC),
    )
    run.check()
    for tag in manifest.tags:
        run.store.put(f"{where}tags/{tag}", b"")
    run.store.create(f"{where}{NAME}", written(manifest))
    return manifest


def drafted(run: Run, seen: BackupPlan, recipients: Sequence[str]) -> Manifest:
    """All that is known before the dump. Sequences above all: read later, they could be ahead of what was dumped."""
    connection, now = seen.moment.connection, datetime.now(UTC)
    return Manifest(
        set=new_id(now),
        environment=run.environment.name,
        database=run.subject,
        started=now,
        ended=now,
        run=run.id,
        tags=run.options.tags,
        server=seen.server,
        tools=tools(seen.program),
        recipients=tuple(recipients),
        settings=settings.ask(connection, connection.info.dbname),
        snapshot=seen.moment.name,
        parts=(),
        tables=facts.rows(seen.moment.tables, {}),
        sequences=facts.sequences(connection),
        extensions=facts.extensions(connection),
        large_objects=facts.large_objects(connection),
        notes=notes(seen),
    )


def dumped(
    run: Run, section: Section, seen: BackupPlan, where: str, recipients: Sequence[str]
) -> tuple[tuple[Part, ...], tuple[str, ...], dict[int, int]]:
    """All parts and the row counts, side by side: the parts as stored, what their programs warned of, the counts."""
    ending, meter = Cancellation(), ByteCounter()
    stream = Stream(run, run.store, where, recipients, section.limits.stall, seen.reached.environment, meter, ending)
    work: dict[str, Callable[[], Any]] = {
        part.name: partial(stream.part, part, command(seen, part, section.limits.lock)) for part in seen.planned
    }
    if section.counts:
        lock, standby = section.limits.lock, seen.server.standby
        work["counts"] = partial(facts.count, ending, seen.reached, seen.moment, lock, standby=standby)

    def tell() -> None:
        run.progress("dumped", meter.bytes, seen.bytes if meter.bytes < seen.bytes else None)

    try:
        done = run_together(run, ending, work, tell)
    except LockTimeout:
        raise Transient(snapshot.held_by(seen.reached, seen.moment.tables, section.limits.lock)) from None
    run.progress("dumped", meter.bytes, meter.bytes)
    counts = done.pop("counts", {})
    warnings = tuple(f"part {name}: {line}" for name, (_, lines) in done.items() for line in lines)
    return tuple(part for part, _ in done.values()), warnings, counts


def command(seen: BackupPlan, part: Planned, lock: timedelta) -> list[str]:
    """The command line that dumps a part."""
    if part.kind is not PartKind.ROLES:
        return pg_dump(seen.program, seen.reached.conninfo, part, seen.moment.name, lock)
    program = dumper(seen.server.major, installed("pg_dumpall"), "pg_dumpall")
    database = seen.moment.connection.info.dbname
    return pg_dumpall(program, seen.reached.conninfo, database, passwords=seen.passwords)


def notes(seen: BackupPlan) -> tuple[str, ...]:
    """What whoever restores this set should know."""
    unlogged = [table.quoted for table in seen.moment.tables if table.unlogged]
    return (
        *((_NO_PASSWORDS,) if not seen.passwords else ()),
        *((_EMPTY_ON_STANDBY.format(", ".join(unlogged)),) if seen.server.standby and unlogged else ()),
    )


_NO_PASSWORDS = (
    "The server keeps its roles' passwords to itself: roles were saved without them; set them after a restore."
)
_EMPTY_ON_STANDBY = "Taken from a standby, where unlogged tables are empty: {}."


def tools(program: Program) -> dict[str, str]:
    """The versions of what a set was made with."""
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
