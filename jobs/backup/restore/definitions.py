"""Read the definitions of a backup set, and restore all or some of them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import IO

from jobs.backup.concurrent import Cancellation
from jobs.backup.errors import BackupError, NeedsSuperuser
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.restore import pg_restore
from jobs.backup.restore.ordinary_role import RestoreLists, needs_roles, restore_lists
from jobs.backup.restore.pg_restore import IndexSettings, Section, constraint_lists
from jobs.backup.restore.processes import child_path, error_output, list_file, raise_if_failed, start_restoring
from jobs.backup.restore.roles import RolesScript, RoleStatement
from jobs.backup.restore.selection import ArchiveEntry, among, parse_entries
from jobs.backup.restore.task import RestoreTask, known_names
from jobs.backup.sets import passed_files
from jobs.backup.sets.manifest import PartKind
from jobs.backup.sets.stored import StoredSet, read_part
from jobs.format import and_more

_FIRST_WITH_CLOSED_PUBLIC = 15
_SHOWN = 5

_INDEX_SETTINGS = """SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')),
    pg_catalog.current_setting('max_parallel_maintenance_workers')::int,
    pg_catalog.current_setting('max_parallel_workers')::int"""


@contextmanager
def definitions_archive(stored: StoredSet, check: Callable[[], None]) -> Iterator[IO[bytes]]:
    """Provide the archive of definitions as a file: pg_restore reads it twice, and in parallel."""
    [part] = stored.parts(PartKind.DEFINITIONS)
    with passed_files.new_file() as archive:
        read_part(stored, part, archive, check)
        archive.flush()
        yield archive


def definitions_listing(task: RestoreTask, archive: IO[bytes]) -> str:
    """Return what `pg_restore --list` prints about an archive of definitions."""
    argv = [*pg_restore.list_command(task.program), str(passed_files.path_for_child(archive))]
    return read_archive(task, archive, argv)


def read_lists(task: RestoreTask, archive: IO[bytes]) -> RestoreLists:
    """Return which entries of the definitions the role restores, and which a superuser."""
    listing, stored = definitions_listing(task, archive), task.stored
    roles = {each.role for each in statements_of_set(stored)} if needs_roles(listing) else ()
    return restore_lists(listing, schemas_of_extensions(stored), stored.description.settings.owner, roles)


def statements_of_set(stored: StoredSet) -> Sequence[RoleStatement]:
    """Return the statements about the roles of the set's server."""
    script = RolesScript()
    for part in stored.parts(PartKind.ROLES):
        read_part(stored, part, script)
    return script.statements()


def read_entries(task: RestoreTask, archive: IO[bytes]) -> tuple[ArchiveEntry, ...]:
    """Return the entries of an archive of definitions, with what each of them needs."""
    path = passed_files.path_for_child(archive)
    script = read_archive(task, archive, pg_restore.script_command(task.program, path))
    listing = read_archive(task, archive, pg_restore.list_with_needs_command(task.program, path))
    return parse_entries(script, listing, known_names(task))


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


def schemas_of_extensions(stored: StoredSet) -> list[str]:
    """Return the schemas of extensions that the set creates."""
    return sorted({extension.schema for extension in stored.description.extensions} - {"public", "pg_catalog"})


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


def revoke_public_create(task: RestoreTask) -> None:
    """Give schema public the default privileges of PostgreSQL 15 on an older server.

    pg_dump 15 and newer dump only what differs from these defaults.
    """
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        if task.stored.dump_major >= _FIRST_WITH_CLOSED_PUBLIC > connection.info.server_version // 10000:
            connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


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
    into = task.reads_set
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
        use_list=child_path(use_list),
    )
    with tempfile.TemporaryFile() as stderr:
        with (
            start_restoring(task, argv, stderr, use_list, archive) as process,
            cancellation.on_cancel(process.terminate) if cancellation else nullcontext(),
        ):
            code = process.wait()
        raise_if_failed(task, code, stderr)


def _read_index_settings(task: RestoreTask) -> IndexSettings:
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        return IndexSettings(*(connection.execute(_INDEX_SETTINGS).fetchone() or ()))


def restore_privileges(task: RestoreTask, archive: IO[bytes], entries: Collection[int]) -> None:
    """Grant privileges as a superuser: GRANT executes nothing of the set, and can name other roles as grantors."""
    if not task.options.privileges or not entries:
        return
    with list_file(entries) as use_list:
        restore_definitions(replace(task, role=None), None, archive, use_list)


def restore_constraints(
    task: RestoreTask,
    archive: IO[bytes],
    selected: Collection[int] | None = None,
    restored: Collection[int] = frozenset(),
) -> None:
    """Restore the definitions that come after the rows, or the selected ones, but not those that are `restored`."""
    for entries in constraint_lists(definitions_listing(task, archive)):
        with list_file([entry for entry in among(entries, selected) if entry not in restored]) as use_list:
            restore_definitions(task, "post-data", archive, use_list, jobs=task.streams)
