"""Fill an empty database from a backup set: definitions, rows in parallel, indexes and constraints, statistics."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

from jobs.backup.concurrent import ByteCounter, Cancellation, run_concurrently
from jobs.backup.errors import BackupError, NeedsSuperuser
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import DISABLE_TIMEOUTS, Endpoint, is_permanent, translated_errors
from jobs.backup.postgres.pipes import enlarge_pipe, with_large_buffers
from jobs.backup.postgres.program_errors import error_line, stderr_lines
from jobs.backup.postgres.programs import FIRST_WITH_TRANSACTION_TIMEOUT, ClientProgram, newest_psql
from jobs.backup.postgres.supervisor import ends_with_parent
from jobs.backup.restore import pg_restore
from jobs.backup.restore.compare import QualifiedName
from jobs.backup.restore.ordinary_role import OrdinaryRole, RestoreLists, restore_lists
from jobs.backup.restore.pg_restore import DefinitionOptions, IndexSettings, Section, constraint_lists
from jobs.backup.restore.selection import ArchiveEntry, among, early_indexes, entries_without, parse_entries, rows_of
from jobs.backup.restore.target import closed_to_others, require_empty
from jobs.backup.sets import passed_files
from jobs.backup.sets.manifest import Part, PartKind
from jobs.backup.sets.segments import RowsOfScript
from jobs.backup.sets.stored import StoredSet, part_damaged, read_part
from jobs.format import and_more
from jobs.run.job import Run, Transient

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
Step = tuple[Part, Sequence[int] | None]
"""A part to restore, and its selected entries; None for all."""

_TRANSIENT = (
    "server closed the connection",
    "terminating connection",
    "could not connect",
    "the database system is",
    "deadlock detected",  # parallel statements of pg_restore, on foreign keys of partitioned tables
)
_FIRST_WITH_CLOSED_PUBLIC = 15
_KINDS_WITH_ROWS = (PartKind.TABLE, PartKind.SEGMENT, PartKind.REST)
_SHOWN = 5
_MAX_TABLES_WITH_EARLY_INDEXES = 1000
_MAX_UNLOGGED = 500
_SMALL_SAMPLE = "-c default_statistics_target=1"
_NEED_LOGGED = ("TABLE ATTACH ", "PUBLICATION TABLE ")

_LOGGED_TABLES = """SELECT c.oid::pg_catalog.regclass::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence = 'p' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relkind = 'p')"""

_INDEX_SETTINGS = """SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')),
    pg_catalog.current_setting('max_parallel_maintenance_workers')::int,
    pg_catalog.current_setting('max_parallel_workers')::int"""

_TABLES = """SELECT c.oid::pg_catalog.regclass::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm', 'p') AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    ORDER BY pg_catalog.pg_relation_size(c.oid) DESC"""


# A view reads more relations, directly or not, than each view that it reads.
_MATERIALISED_VIEWS = """WITH RECURSIVE direct AS (
        SELECT DISTINCT r.ev_class AS view, d.refobjid AS used
        FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
            ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class),
    reads AS (SELECT view, used FROM direct JOIN pg_catalog.pg_class m ON m.oid = view AND m.relkind = 'm' UNION
        SELECT reads.view, direct.used FROM reads JOIN direct ON direct.view = reads.used)
    SELECT c.oid::pg_catalog.regclass::pg_catalog.text, o.rolname, NOT o.rolsuper AND NOT o.rolbypassrls
        AND pg_catalog.bool_or(t.relrowsecurity
            AND (t.relforcerowsecurity OR NOT pg_catalog.pg_has_role(o.oid, t.relowner, 'USAGE')))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    LEFT JOIN reads ON reads.view = c.oid LEFT JOIN pg_catalog.pg_class t ON t.oid = reads.used
    WHERE c.relkind = 'm' AND c.relispopulated GROUP BY c.oid, o.oid, o.rolname, o.rolsuper, o.rolbypassrls
    ORDER BY pg_catalog.count(reads.used), c.oid"""


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


# The tables and sequences whose values users change. If an extension has a column of a type such as regclass, its rows
# can name objects of the database.
_EXTENSION_ROWS = """SELECT n.nspname, c.relname, EXISTS (
        SELECT FROM pg_catalog.unnest(extconfig) same
        JOIN pg_catalog.pg_attribute a ON a.attrelid = same AND a.attnum > 0
        JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
        WHERE y.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND y.typname ~ '^_?reg')
    FROM pg_catalog.pg_extension CROSS JOIN pg_catalog.unnest(extconfig) configured
    JOIN pg_catalog.pg_class c ON c.oid = configured JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""


@dataclass(frozen=True, slots=True)
class RestoreTask:
    """The set to restore, the database to restore into, and how."""

    stored: StoredSet
    into: Endpoint
    program: ClientProgram
    run: Run
    streams: int
    options: DefinitionOptions = field(default_factory=DefinitionOptions)
    tables: tuple[str, ...] = ()
    """Restore only these tables, named as on the command line (default: all)."""
    role: OrdinaryRole | None = None
    """Execute what the set brings as this role (default: as the role of `into`)."""
    throw_away: bool = False
    """Nobody needs the database if its server crashes, so its tables need no write-ahead log."""
    small_sample: bool = False
    """No query needs good statistics, so ANALYZE reads few rows. It calls the same functions, on fewer rows."""

    @property
    def executes(self) -> Endpoint:
        """The database, as the role that executes what the set brings."""
        return self.into if self.role is None else self.role.endpoint(self.into)


@dataclass(frozen=True, slots=True)
class ExtensionRows:
    """The entries of the rest of a set by who restores them, if it has rows of extensions.

    A superuser restores these rows: the owner of a database cannot write into most tables of extensions, so code of the
    set must not, either.
    """

    rest: Part | None = None
    early: tuple[int, ...] = ()
    """Rows that are restored before anything else of the set exists."""
    late: tuple[int, ...] = ()
    """Rows that name tables and other objects of the set."""
    others: tuple[int, ...] = ()

    def steps_of_role(self, stored: StoredSet) -> list[Step]:
        """Return the parts that the role restores."""
        parts = stored.parts(*_KINDS_WITH_ROWS)
        return [(part, self.others if part == self.rest else None) for part in parts]


def fill(task: RestoreTask, *, statistics: bool = True) -> Mapping[QualifiedName, int]:
    """Restore the whole set into an empty database. Return the rows of the tables that were counted on the way.

    Statistics contain values of rows. A restore that sanitises rows collects statistics later, and until then the
    role of the task owns all.
    """
    with definitions_archive(task.stored, task.run.check) as archive, ExitStack() as files:
        use_list, lists, of_extensions = None, None, ExtensionRows()
        with task.run.step("definitions"):
            revoke_public_create(task)
            if task.role is not None:
                lists = read_lists(task, archive)
                of_extensions = restore_extensions(task, task.role, archive, lists.extensions, with_rows=True)
                restore_privileges(task, archive, lists.schema_privileges)
                task.role.own_database(task.into, schemas_of_extensions(task.stored))
                use_list = files.enter_context(list_file(lists.by_role))
            restore_definitions(task, "pre-data", archive, use_list)
            if task.throw_away and can_be_unlogged(_listing(task, archive)):
                _make_unlogged(task)
        by_role = lists.by_role if lists is not None else None
        with task.run.step("rows"):
            _restore_as_superuser(_without_triggers(task), of_extensions.rest, of_extensions.late)
            early = EarlyIndexes(archive, _early_indexes(task, archive, by_role))
            counts = restore_rows(task, of_extensions.steps_of_role(task.stored), early)
        with task.run.step("indexes and constraints"):
            restore_constraints(task, archive, by_role, early.restored)
        if statistics:
            with task.run.step("statistics"):
                analyze(task)
        if task.role is not None and lists is not None:
            if statistics:
                task.role.hand_over(task.into)
            restore_privileges(task, archive, lists.privileges)
    return counts


@dataclass(frozen=True, slots=True)
class EarlyIndexes:
    """The entries of indexes that are restored while other tables still get rows, and which of them were restored."""

    archive: IO[bytes]
    entries: Mapping[QualifiedName, Sequence[int]]
    restored: set[int] = field(default_factory=set)


def _early_indexes(
    task: RestoreTask, archive: IO[bytes], by_role: Collection[int] | None
) -> Mapping[QualifiedName, Sequence[int]]:
    """Return the indexes of each table with segments that can be restored early. Many definitions take long to read."""
    segments = [task.stored.segment(part) for part in task.stored.parts(PartKind.SEGMENT)]
    tables = {(segment.schema, segment.table) for segment in segments}
    if not tables or len(task.stored.description.tables) > _MAX_TABLES_WITH_EARLY_INDEXES:
        return {}
    found = early_indexes(read_entries(task, archive), tables)
    return {name: among(entries, by_role) for name, entries in found.items()}


def can_be_unlogged(listing: str) -> bool:
    """Whether all tables of the definitions that `pg_restore --list` prints can be unlogged.

    A publication takes no unlogged table. A partitioned table stays logged, and its foreign keys accept only logged
    tables. With many tables, it takes longer to change each of them than to write the log.
    """
    entries = [what for _, what in pg_restore.listed_entries(listing)]
    tables = sum(what.startswith("TABLE ") for what in entries)
    return tables <= _MAX_UNLOGGED and not any(what.startswith(_NEED_LOGGED) for what in entries)


def _make_unlogged(task: RestoreTask) -> None:
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        for (name,) in connection.execute(_LOGGED_TABLES).fetchall():
            connection.execute(f"ALTER TABLE {name} SET UNLOGGED".encode())


def read_lists(task: RestoreTask, archive: IO[bytes]) -> RestoreLists:
    """Return which entries of the definitions the role restores, and which a superuser."""
    return restore_lists(
        _listing(task, archive), schemas_of_extensions(task.stored), task.stored.description.settings.owner
    )


def schemas_of_extensions(stored: StoredSet) -> list[str]:
    """Return the schemas of extensions that the set creates."""
    return sorted({extension.schema for extension in stored.description.extensions} - {"public", "pg_catalog"})


def _listing(task: RestoreTask, archive: IO[bytes]) -> str:
    argv = [*pg_restore.list_command(task.program), str(passed_files.path_for_child(archive))]
    return read_archive(task, archive, argv)


def require_restorable(task: RestoreTask, owner: str) -> None:
    """Raise if this owner cannot restore an object of the set, because only a superuser can, and name these objects."""
    with definitions_archive(task.stored, task.run.check) as archive:
        refused = read_lists(task, archive).refused
    if refused:
        raise NeedsSuperuser(
            f"{owner} cannot restore this set, because only a superuser can restore "
            f"{and_more(refused, _SHOWN)}; restore as a superuser if you trust the owner of the database"
        )


def require_own(task: RestoreTask, selected: Collection[int] | None = None) -> None:
    """Raise if the set, or the selected entries of it, have objects that the owner of the database does not own."""
    with definitions_archive(task.stored, task.run.check) as archive:
        others = read_lists(task, archive).of_others
    found = [what for number, what in others.items() if selected is None or number in selected]
    if found:
        raise NeedsSuperuser(f"only a superuser can restore {and_more(found, _SHOWN)}")


def objects_of_others(task: RestoreTask) -> list[str]:
    """Return the objects of the set that another role than the owner of the database owns."""
    own = f" of {task.stored.description.settings.owner}"
    with definitions_archive(task.stored, task.run.check) as archive:
        return [what for what in read_lists(task, archive).of_others.values() if not what.endswith(own)]


def read_archive(task: RestoreTask, archive: IO[bytes], argv: Sequence[str]) -> str:
    """Return what pg_restore prints about an archive of definitions."""
    with tempfile.TemporaryFile() as stderr:
        done = subprocess.run(argv, pass_fds=[archive.fileno()], stdout=subprocess.PIPE, stderr=stderr, check=False)
        if done.returncode:
            raise BackupError(
                f"the definitions of set {task.stored.manifest.set} cannot be read: "
                f"{error_output(stderr, done.returncode)}; restore another set with --set"
            )
    return done.stdout.decode(errors="replace")


def read_entries(task: RestoreTask, archive: IO[bytes]) -> tuple[ArchiveEntry, ...]:
    """Return the entries of an archive of definitions, with what each of them needs."""
    path = passed_files.path_for_child(archive)
    script = read_archive(task, archive, pg_restore.script_command(task.program, path))
    listing = read_archive(task, archive, pg_restore.list_with_needs_command(task.program, path))
    return parse_entries(script, listing, known_names(task))


def restore_extensions(
    task: RestoreTask, role: OrdinaryRole, archive: IO[bytes], entries: Collection[int], *, with_rows: bool = False
) -> ExtensionRows:
    """Create the extensions as a superuser, before anything exists that their scripts and triggers could call.

    Only then does the database belong to the role: an owner can connect, and create functions in schema public. So can
    the owner of a database that existed before, until it is closed. With their rows, return who restores the rest.
    """
    with ExitStack() as stack:
        use_list = stack.enter_context(list_file(entries))
        if task.stored.description.extensions:
            stack.enter_context(closed_to_others(task.into))
            require_empty(task.into)
        options = replace(task.options, owners=role.keeps_owners, privileges=False)
        restore_definitions(replace(task, role=None, options=options), "pre-data", archive, use_list)
        rows = _extension_rows(task) if with_rows else ExtensionRows()
        _restore_as_superuser(task, rows.rest, rows.early)
    return rows


def _extension_rows(task: RestoreTask) -> ExtensionRows:
    """Return which entries of the rest have rows of extensions that exist in the database."""
    rest = next(iter(task.stored.parts(PartKind.REST)), None)
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        refers = {(schema, name): late for schema, name, late in connection.execute(_EXTENSION_ROWS).fetchall()}
    if rest is None or not refers:
        return ExtensionRows()
    listing, known = part_listing(task, rest), [*known_names(task), *refers]
    early, late = (rows_of(listing, {name for name in refers if refers[name] is each}, known) for each in (False, True))
    return ExtensionRows(rest, early, late, entries_without(listing, refers, known))


def _restore_as_superuser(task: RestoreTask, part: Part | None, entries: Collection[int]) -> None:
    if part is not None and entries:
        with list_file(entries) as use_list:
            _restore_archive(replace(task, role=None), part, use_list, Cancellation(), ByteCounter())


def _without_triggers(task: RestoreTask) -> RestoreTask:
    """Return the task with triggers disabled: once objects of the set exist, they could call these."""
    return replace(task, into=task.into.with_options("-c session_replication_role=replica"))


def restore_privileges(task: RestoreTask, archive: IO[bytes], entries: Collection[int]) -> None:
    """Grant privileges as a superuser: GRANT executes nothing of the set, and can name other roles as grantors."""
    if not task.options.privileges or not entries:
        return
    with list_file(entries) as use_list:
        restore_definitions(replace(task, role=None), None, archive, use_list)


@contextmanager
def list_file(entries: Collection[int]) -> Iterator[IO[bytes]]:
    """Write a list for pg_restore --use-list."""
    with passed_files.new_file() as use_list:
        use_list.writelines(f"{entry};\n".encode() for entry in entries)
        use_list.flush()
        yield use_list


def revoke_public_create(task: RestoreTask) -> None:
    """Give schema public the default privileges of PostgreSQL 15 on an older server.

    pg_dump 15 and newer dump only what differs from these defaults.
    """
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        if task.stored.dump_major >= _FIRST_WITH_CLOSED_PUBLIC > connection.info.server_version // 10000:
            connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


@contextmanager
def definitions_archive(stored: StoredSet, check: Callable[[], None]) -> Iterator[IO[bytes]]:
    """Provide the archive of definitions as a file: pg_restore reads it twice, and in parallel."""
    [part] = stored.parts(PartKind.DEFINITIONS)
    with passed_files.new_file() as archive:
        read_part(stored, part, archive, check)
        archive.flush()
        yield archive


def restore_definitions(
    task: RestoreTask,
    section: Section | None,
    archive: IO[bytes],
    use_list: IO[bytes] | None = None,
    *,
    jobs: int = 1,
    cancellation: Cancellation | None = None,
) -> None:
    """Restore one section of the definitions, or all, with `jobs` connections."""
    into = _fast(task.executes)
    if section == "pre-data":
        # postgis_topology appends to the search_path with which the session began, and fails if that is empty.
        # pg_restore itself sets an empty one before its first statement.
        into = replace(into, for_scripts=True)
    elif section == "post-data":
        into = into.with_options(_read_index_settings(task).options(task.streams))
    argv = pg_restore.definitions_command(
        task.program,
        into.conninfo,
        section,
        passed_files.path_for_child(archive),
        task.options,
        jobs=jobs,
        use_list=_path(use_list),
    )
    with tempfile.TemporaryFile() as stderr:
        with (
            _start(task, argv, stderr, use_list, archive) as process,
            cancellation.on_cancel(process.terminate) if cancellation else nullcontext(),
        ):
            code = process.wait()
        _raise_if_failed(task, code, stderr)


def _read_index_settings(task: RestoreTask) -> IndexSettings:
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        return IndexSettings(*(connection.execute(_INDEX_SETTINGS).fetchone() or ()))


def restore_constraints(
    task: RestoreTask,
    archive: IO[bytes],
    selected: Collection[int] | None = None,
    restored: Collection[int] = frozenset(),
) -> None:
    """Restore the definitions that come after the rows, or the selected ones, but not those that are `restored`."""
    for entries in constraint_lists(_listing(task, archive)):
        with list_file([entry for entry in among(entries, selected) if entry not in restored]) as use_list:
            restore_definitions(task, "post-data", archive, use_list, jobs=task.streams)


def _restore_early(task: RestoreTask, early: EarlyIndexes, entry: int, cancellation: Cancellation) -> None:
    with list_file([entry]) as use_list:
        restore_definitions(task, "post-data", early.archive, use_list, cancellation=cancellation)
    early.restored.add(entry)


def restore_rows(
    task: RestoreTask, selected: Sequence[Step] = (), early: EarlyIndexes | None = None
) -> Mapping[QualifiedName, int]:
    """Restore parts in parallel (default: all with rows, the biggest first), each with its selected entries.

    Once all segments of a table are restored, its early indexes follow, as soon as a stream is free.

    If constraints call functions of users, these can read other tables. Then parts are restored one after another,
    first the tables without such constraints, then the others in the order of pg_dump.

    Return the number of rows of each table that was restored from segments. A function of users could change it.
    """
    callers = _callers(task)
    steps = [*selected] or [(part, None) for part in task.stored.parts(*_KINDS_WITH_ROWS)]
    if callers:
        steps = _callers_last(task, steps, callers)
    cancellation, restored, total = Cancellation(), ByteCounter(), sum(part.dumped for part, _ in steps)
    tables = {f"{number} {part.name}": _table_of_segment(task, part) for number, (part, _) in enumerate(steps)}
    missing = Counter(tables.values())

    def after(name: str) -> Mapping[str, Callable[[], None]]:
        table = tables.get(name)
        missing[table] -= 1
        if early is None or callers or table is None or missing[table]:
            return {}
        entries = early.entries.get(table, ())
        return {f"index {entry}": partial(_restore_early, task, early, entry, cancellation) for entry in entries}

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


def known_names(task: RestoreTask) -> list[QualifiedName]:
    """Return the names of the tables and sequences in the set."""
    description = task.stored.description
    tables = [(table.schema, table.name) for table in description.tables]
    return tables + [(sequence.schema, sequence.name) for sequence in description.sequences]


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
        _restore_archive(task, part, use_list, cancellation, restored)


def _restore_segment(task: RestoreTask, part: Part, cancellation: Cancellation, restored: ByteCounter) -> None:
    """Stream the rows of a segment into psql, which gets nothing else of what is stored."""
    segment = task.stored.segment(part)
    into = _fast(task.executes).with_encoding(segment.encoding)
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


def _restore_archive(
    task: RestoreTask,
    part: Part,
    use_list: IO[bytes] | None,
    cancellation: Cancellation,
    restored: ByteCounter,
) -> None:
    """Stream an archive into pg_restore."""
    argv = pg_restore.rows_command(task.program, _fast(task.executes).conninfo, task.options, use_list=_path(use_list))

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
        process = _start(task, argv, stderr, *files, stdin=subprocess.PIPE, **popen)
        try:
            with cancellation.on_cancel(process.terminate):
                with suppress(BrokenPipeError):  # the program's own message, below, has the reason
                    feed(process)
                close_stdin(process)
        except BaseException:
            process.terminate()
            close_stdin(process)
            raise
        _raise_if_failed(task, process.returncode, stderr, part)


def _check(run: Run, cancellation: Cancellation) -> None:
    """Raise if the run must stop or a parallel part failed."""
    run.check()
    cancellation.check()


def _start(
    task: RestoreTask, argv: Sequence[str], stderr: IO[bytes], *files: IO[bytes] | None, **popen: Any
) -> subprocess.Popen[bytes]:
    passed = [file.fileno() for file in files if file]
    command = with_large_buffers(argv)
    if "stdin" not in popen:  # a program that reads our pipe ends with it; the others need a supervisor
        command, popen = ends_with_parent(command, passed), {**popen, "stdin": subprocess.PIPE}
    return task.run.process(
        command,
        env=task.executes.environment,
        pass_fds=passed,
        stderr=stderr,
        **{"stdout": subprocess.DEVNULL, **popen},
    )


def _fast(into: Endpoint) -> Endpoint:
    """Return the endpoint with the settings that make a restore fast."""
    return into.with_options(pg_restore.SERVER_OPTIONS)


def _path(file: IO[bytes] | None) -> Path | None:
    return passed_files.path_for_child(file) if file else None


def close_stdin(process: subprocess.Popen[bytes]) -> None:
    """Close the stdin of a program and wait until the program ends."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    process.wait()


def _raise_if_failed(task: RestoreTask, code: int, stderr: IO[bytes], part: Part | None = None) -> None:
    if not code:
        return
    task.run.check()
    output = error_output(stderr, code)
    of_part = f" of part {part.name}" if part is not None else ""
    program = "psql" if part is not None and part.kind is PartKind.SEGMENT else "pg_restore"
    message = f"{program}{of_part} into {task.into.database} failed: {output}"
    raise Transient(message) if is_transient(output) else BackupError(message)


def is_transient(output: str) -> bool:
    """Whether pg_restore can succeed if it is tried again."""
    return any(sign in output for sign in _TRANSIENT) and not is_permanent(output)


def error_output(stderr: IO[bytes], code: int) -> str:
    """Return the error that a failed program printed; its exit code if it printed none."""
    stderr.seek(0)
    return error_line(stderr_lines(stderr)) or f"exit code {code}"


def analyze(task: RestoreTask, command: str = "ANALYZE") -> None:
    """Collect statistics. Without them the first queries are slow."""
    with translated_errors(), task.executes.connect(autocommit=True) as connection:
        tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
    analyze_tables(task, tables, command)


def refresh_materialised_views(task: RestoreTask) -> None:
    """Refresh all materialised views that have rows, those that others read first."""
    statements = [f"REFRESH MATERIALIZED VIEW {name}" for name, _, _ in _materialised_views(task)]
    execute_all(task.executes, statements, 1, task.run)


def views_of_hidden_rows(task: RestoreTask) -> tuple[str, ...]:
    """Return a note if materialised views have rows that row security hides from the owners of these views."""
    views = [f"{name} of {owner}" for name, owner, hides in _materialised_views(task) if hides]
    if not views:
        return ()
    fact = "materialised views have all rows of their tables, also those that row security hides from the view's owner"
    return (f"{fact}: {and_more(views, _SHOWN)}; REFRESH MATERIALIZED VIEW applies the policies",)


def _materialised_views(task: RestoreTask) -> list[tuple[str, str, bool]]:
    """Return the name and the owner of each view that has rows, and whether row security hides rows from its owner."""
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        return connection.execute(_MATERIALISED_VIEWS).fetchall()


def execute_all(into: Endpoint, statements: Sequence[str], connections: int, run: Run) -> None:
    """Execute statements over several connections. A policy that hides rows from one is an error."""
    in_parallel(into, [partial(_execute, statement) for statement in statements], connections, run)


def analyze_tables(task: RestoreTask, names: Sequence[str], command: str = "ANALYZE") -> None:
    """Collect statistics of tables. These see all rows; only a function of an index can meet a policy."""
    statements = [partial(_execute, f"{command} {name}") for name in names]
    into = task.executes.with_options(_SMALL_SAMPLE) if task.small_sample else task.executes
    in_parallel(into, statements, task.streams, task.run, row_security="on")


def _execute(statement: str, connection: psycopg.Connection[Any]) -> None:
    connection.execute(statement.encode())


def in_parallel(
    into: Endpoint,
    tasks: Sequence[Callable[[psycopg.Connection[Any]], T]],
    connections: int,
    run: Run,
    *,
    row_security: Literal["on", "off"] = "off",
) -> list[T]:
    """Do tasks over several connections. Return their results in the order of the tasks."""
    results: dict[int, T] = {}
    remaining, lock, cancellation = iter(enumerate(tasks)), threading.Lock(), Cancellation()

    def work() -> None:
        with (
            translated_errors(),
            _fast(into).connect(autocommit=True) as connection,
            cancellation.on_cancel(connection.cancel),
        ):
            connection.execute(DISABLE_TIMEOUTS)
            connection.execute(f"SET row_security = {row_security}".encode())
            while True:
                cancellation.check()
                with lock:
                    number, task = next(remaining, (-1, None))
                if task is None:
                    return
                results[number] = task(connection)

    run_concurrently(run, cancellation, {str(number): work for number in range(min(connections, len(tasks)))})
    return [results[number] for number in range(len(tasks))]
