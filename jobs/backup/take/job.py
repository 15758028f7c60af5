"""The job `backup`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.backup import sources
from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import reach
from jobs.backup.sets.manifest import Manifest
from jobs.backup.sources import knows, schedule, source
from jobs.backup.take import snapshot
from jobs.backup.take.take import BackupPlan, plan_backup, take
from jobs.format import format_size
from jobs.run.job import Job, Options, Outcome, Result, Run, Transient, UnknownName

if TYPE_CHECKING:
    from inventories import Environment

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def work(run: Run) -> Result:
    """Back one database up, or say what would be."""
    section, database = source(run.environment, run.subject)
    store = run.environment.store
    if store is None:
        raise BackupError(f"{run.environment.name} has no [store] to keep backups in")
    with reach(run, section) as server:
        reached = server.named(database) if database is not None else server
        if run.subject in run.environment.servers:
            reached.connect().close()
            raise Transient(f"{run.subject} did not say which databases it has, and now it answers: try again")
        if run.options.dry_run:
            with snapshot.held(reached, section.limits.lock) as moment:
                return would(plan_backup(section, reached, moment))
        return done(take(run, section, reached, store.encrypt_to))


def subjects(environment: Environment, options: Options) -> list[str]:
    """The databases, if the set can be tagged as was asked for."""
    for tag in options.tags:
        if not _TAG.fullmatch(tag):
            raise UnknownName(f"--tag {tag}: use letters, digits, ., - and _, at most 63")
    return sources.subjects(environment, options)


def would(seen: BackupPlan) -> Result:
    """What a dry run says."""
    alone = [part.table for part in seen.planned if part.table]
    leaves = [table for table in seen.moment.tables if table.leaf]
    sentence = (
        f"would dump {seen.reached.database}: {len(leaves)} tables, {format_size(seen.bytes)}, in {len(seen.planned)} "
        f"parts with pg_dump {seen.program.version} from a server of version {seen.server.version}"
    )
    streams = f"; with a stream of their own: {', '.join(alone)}" if alone else ""
    return Result(Outcome.DONE, sentence + streams, {"tables": len(leaves), "bytes": seen.bytes})


def done(manifest: Manifest) -> Result:
    """What a run says of the set that it took."""
    seconds = (manifest.ended - manifest.started).total_seconds()
    sentence = (
        f"{format_size(manifest.dumped_bytes)} in {seconds:.1f} s, stored as {format_size(manifest.stored_bytes)} "
        f"in {len(manifest.parts)} parts: set {manifest.set}"
    )
    figures: dict[str, int | float | str] = {
        "set": manifest.set,
        "dumped_bytes": manifest.dumped_bytes,
        "stored_bytes": manifest.stored_bytes,
        "seconds": round(seconds, 3),
        "parts": len(manifest.parts),
        "tables": len(manifest.tables),
    }
    return Result(Outcome.DONE, sentence, figures if manifest.rows is None else {**figures, "rows": manifest.rows})


def limit(environment: Environment, name: str) -> timedelta:
    """The time that a run on this database may take."""
    return source(environment, name)[0].limits.run


BACKUP = Job("backup", subjects, work, schedule, limit, knows=knows)
