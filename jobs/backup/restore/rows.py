"""Restore the rows of a backup set in parallel, and early indexes beside them."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import IO, Any

from jobs.backup.concurrent import ByteCounter, Cancellation, run_concurrently
from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.postgres.pipes import enlarge_pipe
from jobs.backup.postgres.programs import FIRST_WITH_TRANSACTION_TIMEOUT, newest_psql
from jobs.backup.restore import pg_restore
from jobs.backup.restore.compare import QualifiedName
from jobs.backup.restore.definitions import restore_definitions
from jobs.backup.restore.index_builds import IndexBuild
from jobs.backup.restore.processes import child_path, close_stdin, list_file, raise_if_failed, start_restoring
from jobs.backup.restore.selection import among, entries_without, rows_of
from jobs.backup.restore.task import RestoreTask, known_names
from jobs.backup.sets.manifest import Part, PartKind
from jobs.backup.sets.segments import RowsOfScript
from jobs.backup.sets.stored import part_damaged, read_part
from jobs.run.job import Run

Step = tuple[Part, Sequence[int] | None]
"""A part to restore, and its selected entries; None for all."""

KINDS_WITH_ROWS = (PartKind.TABLE, PartKind.SEGMENT, PartKind.REST)

# A function of a user can read other tables. COPY calls those of CHECK constraints, domains and generated columns.
# If a domain calls one, every table with a column of a domain or composite type counts.
_CALLERS = """WITH called AS (
    SELECT c.conrelid, c.contypid, a.attrelid FROM pg_catalog.pg_depend d
    LEFT JOIN pg_catalog.pg_constraint c ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
        AND c.oid = d.objid AND c.contype = 'c'
    LEFT JOIN pg_catalog.pg_attrdef e ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND e.oid = d.objid
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum AND a.attgenerated <> ''
    LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass
        AND o.oid = d.refobjid
    JOIN pg_catalog.pg_proc p ON p.oid = COALESCE(o.oprcode,
        CASE d.refclassid WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN d.refobjid END)
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE (c.oid IS NOT NULL OR a.attrelid IS NOT NULL) AND l.lanname NOT IN ('internal', 'c') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND m.objid = p.oid AND m.deptype = 'e'))
SELECT n.nspname, t.relname FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE t.relkind = 'r' AND (t.oid IN (SELECT conrelid FROM called) OR t.oid IN (SELECT attrelid FROM called)
    OR EXISTS (SELECT FROM called WHERE contypid <> 0) AND EXISTS (
        SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_type e ON e.oid = y.typelem
        WHERE a.attrelid = t.oid AND a.attnum > 0 AND (y.typtype IN ('d', 'c') OR e.typtype IN ('d', 'c'))))"""


@dataclass(frozen=True, slots=True)
class EarlyIndexes:
    """The indexes that are built while other tables still get rows, by table, and which of them were restored."""

    archive: IO[bytes]
    builds: Mapping[QualifiedName | None, Sequence[IndexBuild]]
    """At None: those of the tables that have no segments."""
    restored: set[int] = field(default_factory=set)


def _restore_early(task: RestoreTask, early: EarlyIndexes, build: IndexBuild, cancellation: Cancellation) -> None:
    with list_file(build.entries) as use_list:
        restore_definitions(task, "post-data", early.archive, use_list, cancellation=cancellation)
    early.restored.update(build.entries)


def restore_rows(
    task: RestoreTask, selected: Sequence[Step] = (), early: EarlyIndexes | None = None
) -> Mapping[QualifiedName, int]:
    """Restore parts in parallel (default: all with rows, the biggest first), each with its selected entries.

    Once a table has all its rows, its early indexes follow, as soon as a stream is free.

    If constraints call functions of users, these can read other tables. Then parts are restored one after another,
    first the tables without such constraints, then the others in the order of pg_dump.

    Return the number of rows of each table that was restored from segments. A function of users could change it.
    """
    callers = _callers(task)
    steps = [*selected] or [(part, None) for part in task.stored.parts(*KINDS_WITH_ROWS)]
    if callers:
        steps = _callers_last(task, steps, callers)
    cancellation, restored, total = Cancellation(), ByteCounter(), sum(part.dumped for part, _ in steps)
    tables = {f"{number} {part.name}": _table_of_segment(task, part) for number, (part, _) in enumerate(steps)}
    missing, started = Counter(tables.values()), dict[str, IndexBuild]()

    def after(name: str) -> Mapping[str, Callable[[], None]]:
        if early is None or callers:
            return {}
        if name in started:
            builds: Sequence[IndexBuild] = started[name].then
        else:
            missing[tables[name]] -= 1
            builds = () if missing[tables[name]] else early.builds.get(tables[name], ())
        named = {f"index {build.entries[0]}": build for build in builds}
        started.update(named)
        return {name: partial(_restore_early, task, early, build, cancellation) for name, build in named.items()}

    with ExitStack() as files:
        work = {
            f"{number} {part.name}": partial(
                _restore_step,
                task,
                part,
                None if entries is None else files.enter_context(list_file(entries)),
                cancellation,
                restored,
            )
            for number, (part, entries) in enumerate(steps)
        }
        run_concurrently(
            task.run,
            cancellation,
            work,
            lambda: task.run.progress("restored", restored.bytes, total),
            1 if callers else task.streams,
            after=after,
        )
    return {} if callers else _rows_of_segments(task, [part for part, _ in steps])


def _table_of_segment(task: RestoreTask, part: Part) -> QualifiedName | None:
    if part.kind is not PartKind.SEGMENT:
        return None
    segment = task.stored.segment(part)
    return segment.schema, segment.table


def _rows_of_segments(task: RestoreTask, parts: Iterable[Part]) -> dict[QualifiedName, int]:
    counts: dict[QualifiedName, int] = {}
    for segment in (task.stored.segment(part) for part in parts if part.kind is PartKind.SEGMENT):
        name = (segment.schema, segment.table)
        counts[name] = counts.get(name, 0) + segment.rows
    return counts


def order_of_dependent_parts(part: Part, tables: Mapping[str, str]) -> tuple[bool, str, int, str]:
    """Return the key that sorts the small tables first, then the big ones by name, as pg_dump sorts them.

    The segments of a table keep their order.
    """
    return part.kind is not PartKind.REST, tables.get(part.name, ""), len(part.name), part.name


def _callers_last(task: RestoreTask, steps: Sequence[Step], callers: Collection[QualifiedName]) -> list[Step]:
    """Return the steps, those of tables that call functions last; the small tables among these get their own steps."""
    tables, known = task.stored.description.table_parts, known_names(task)
    steps = sorted(steps, key=lambda step: order_of_dependent_parts(step[0], tables))
    own = {name: [step for step in steps if tables.get(step[0].name) == quoting.identifier(*name)] for name in callers}
    big, small = {name for name in own if own[name]}, [name for name in own if not own[name]]
    calm, calling = [step for step in steps if not any(step in of_big for of_big in own.values())], list[Step]()
    rest, wanted = next((step for step in calm if step[0].kind is PartKind.REST), (None, None))
    listing = part_listing(task, rest) if rest is not None and small else ""
    for is_big, names in groups_of_callers(callers, big):
        if is_big:
            calling += (step for name in names for step in own[name])
        elif rest is not None and (rows := among(rows_of(listing, names, known), wanted)):
            calling.append((rest, rows))
    if listing:
        early = among(entries_without(listing, small, known), wanted)
        calm = [(part, early if part is rest else entries) for part, entries in calm]
    return [*calm, *calling]


def groups_of_callers(
    callers: Iterable[QualifiedName], big: Collection[QualifiedName]
) -> list[tuple[bool, list[QualifiedName]]]:
    """Return tables in the order of pg_dump, big or small neighbours together."""
    return [(is_big, list(names)) for is_big, names in groupby(sorted(callers), key=big.__contains__)]


def _callers(task: RestoreTask) -> set[QualifiedName]:
    """Return the tables for which COPY calls functions of users, which can read other tables."""
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        return {(schema, name) for schema, name in connection.execute(_CALLERS)}


def part_listing(task: RestoreTask, part: Part) -> str:
    """Return the output of `pg_restore --list` for a part. Only the beginning of the part is read from the store."""
    with tempfile.TemporaryFile() as printed:
        argv = pg_restore.list_command(task.program)
        process = task.run.process(argv, stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.DEVNULL)
        try:
            with suppress(_StopReading):
                read_part(task.stored, part, _StdinUntilClosed(process), task.run.check)
        finally:
            close_stdin(process)
        task.run.check()
        if process.returncode:
            fact = f"pg_restore --list of part {part.name} failed with exit code {process.returncode}"
            raise BackupError(f"{fact}; the part may be damaged, so restore another set with --set")
        printed.seek(0)
        return printed.read().decode(errors="replace")


class _StopReading(Exception):
    """The program has read enough."""


class _StdinUntilClosed:
    """The stdin of a program. It raises _StopReading once the program has closed it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def write(self, body: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(body)
        except BrokenPipeError:
            raise _StopReading from None


class _CountingStdin:
    """The stdin of a program. It counts bytes, and ignores the rest once the program ended successfully."""

    def __init__(self, process: subprocess.Popen[bytes], written: ByteCounter) -> None:
        assert process.stdin is not None
        enlarge_pipe(process.stdin)
        self._pipe = process.stdin
        self._process = process
        self._written = written
        self._closed = False

    def write(self, body: bytes) -> None:
        if not self._closed:
            try:
                self._pipe.write(body)
            except BrokenPipeError:
                if self._process.wait():
                    raise
                self._closed = True
        self._written.add(len(body))


def _restore_step(
    task: RestoreTask,
    part: Part,
    use_list: IO[bytes] | None,
    cancellation: Cancellation,
    restored: ByteCounter,
) -> None:
    """Stream one part from the store into pg_restore, or the rows of a segment into psql."""
    if part.kind is PartKind.SEGMENT:
        _restore_segment(task, part, cancellation, restored)
    else:
        restore_archive(task, part, use_list, cancellation, restored)


def _restore_segment(task: RestoreTask, part: Part, cancellation: Cancellation, restored: ByteCounter) -> None:
    """Stream the rows of a segment into psql, which gets nothing else of what is stored."""
    segment = task.stored.segment(part)
    into = task.reads_set.with_encoding(segment.encoding)
    newer = task.program.major >= FIRST_WITH_TRANSACTION_TIMEOUT  # then the server is, too
    argv = pg_restore.copy_in_command(newest_psql(), into.conninfo, segment, has_transaction_timeout=newer)

    def feed(process: subprocess.Popen[bytes]) -> None:
        rows = RowsOfScript(_CountingStdin(process, restored), segment)
        read_part(task.stored, part, rows, lambda: _check(task.run, cancellation))
        rows.finish()

    with tempfile.TemporaryFile() as printed:
        _run_fed(task, part, argv, feed, cancellation, stdout=printed)
        printed.seek(0)
        found = pg_restore.copied_rows(printed.read().decode(errors="replace"))
    if found != segment.rows:
        fact = f"{found or 0} rows of table {segment.quoted} were restored, and it has {segment.rows}"
        raise part_damaged(task.stored.manifest, part, fact)


def restore_archive(
    task: RestoreTask,
    part: Part,
    use_list: IO[bytes] | None,
    cancellation: Cancellation,
    restored: ByteCounter,
) -> None:
    """Stream an archive into pg_restore."""
    argv = pg_restore.rows_command(task.program, task.reads_set.conninfo, task.options, use_list=child_path(use_list))

    def feed(process: subprocess.Popen[bytes]) -> None:
        read_part(task.stored, part, _CountingStdin(process, restored), lambda: _check(task.run, cancellation))

    _run_fed(task, part, argv, feed, cancellation, use_list)


def _run_fed(
    task: RestoreTask,
    part: Part,
    argv: Sequence[str],
    feed: Callable[[subprocess.Popen[bytes]], None],
    cancellation: Cancellation,
    *files: IO[bytes] | None,
    **popen: Any,
) -> None:
    """Run a program on what `feed` writes to its stdin; raise if it fails."""
    with tempfile.TemporaryFile() as stderr:
        process = start_restoring(task, argv, stderr, *files, stdin=subprocess.PIPE, **popen)
        try:
            with cancellation.on_cancel(process.terminate):
                with suppress(BrokenPipeError):  # the program's own message, below, has the reason
                    feed(process)
                close_stdin(process)
        except BaseException:
            process.terminate()
            close_stdin(process)
            raise
        raise_if_failed(task, process.returncode, stderr, part)


def _check(run: Run, cancellation: Cancellation) -> None:
    """Raise if the run must stop or a parallel part failed."""
    run.check()
    cancellation.check()
