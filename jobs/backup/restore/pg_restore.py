"""The command lines of pg_restore and psql in a restore, and the lists that pg_restore prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.sets.segments import Segment, copy_in_statement

Section = Literal["pre-data", "post-data"]

_COPIED = re.compile(r"^COPY (\d+)$", re.MULTILINE)
_ROW_SECURITY = "ROW SECURITY "
_OF_EVENT_TRIGGERS = ("EVENT TRIGGER ", "COMMENT - EVENT TRIGGER ", "SECURITY LABEL - EVENT TRIGGER ")
_LISTED = re.compile(r"^(\d+); \d+ \d+ (\S.*)$", re.MULTILINE)

# Commits do not wait for the disk: if the server crashes, the restore starts again. More memory makes index builds
# several times faster.
SERVER_OPTIONS = "-c synchronous_commit=off -c maintenance_work_mem=256MB"
_MIN_INDEX_MEMORY = 256 << 20
_MAX_INDEX_MEMORY = 1 << 30


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """The settings of a server that show how much it can spend on building indexes, memory in bytes."""

    memory: int
    buffers: int
    workers: int
    all_workers: int

    def options(self, streams: int) -> str:
        """Return the startup options for building as many indexes at once: never less than the server's own settings.

        All builds together take at most half as much memory as the server's cache, but at least 256 MiB each.
        """
        share = min(self.buffers // (2 * streams), _MAX_INDEX_MEMORY)
        memory = max(self.memory, share, _MIN_INDEX_MEMORY)
        workers = max(self.workers, self.all_workers // streams)
        return f"-c maintenance_work_mem={memory >> 10}kB -c max_parallel_maintenance_workers={workers}"


@dataclass(frozen=True, slots=True)
class DefinitionOptions:
    """Which optional definitions a restore includes."""

    owners: bool = True
    privileges: bool = True
    tablespaces: bool = True
    subscriptions: bool = True

    @property
    def flags(self) -> tuple[str, ...]:
        """The pg_restore flags that exclude the rest."""
        included = {
            "--no-owner": self.owners,
            "--no-privileges": self.privileges,
            "--no-tablespaces": self.tablespaces,
            "--no-subscriptions": self.subscriptions,
        }
        return tuple(flag for flag, include in included.items() if not include)


def definitions_command(
    program: ClientProgram,
    conninfo: str,
    section: Section | None,
    archive: Path,
    options: DefinitionOptions,
    *,
    jobs: int = 1,
    use_list: Path | None = None,
) -> list[str]:
    """Return the command that restores the definitions, or one section of them, with `jobs` connections."""
    return [
        *_base(program, use_list),
        *([f"--section={section}"] if section else []),
        *([f"--jobs={jobs}"] if jobs > 1 else []),
        *options.flags,
        f"--dbname={conninfo}",
        str(archive),
    ]


def rows_command(
    program: ClientProgram, conninfo: str, options: DefinitionOptions, *, use_list: Path | None = None
) -> list[str]:
    """Return the command that restores the rows of one part from stdin."""
    return [*_base(program, use_list), "--section=data", *options.flags, f"--dbname={conninfo}"]


def copy_in_command(
    psql: ClientProgram, conninfo: str, segment: Segment, *, has_transaction_timeout: bool
) -> list[str]:
    """Return the command that restores rows from stdin. psql executes these statements, and nothing that it reads.

    It prints the number of rows last.
    """
    timeouts = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    if has_transaction_timeout:
        timeouts.append("transaction_timeout")
    settings = [*(f"SET {name} = 0" for name in timeouts), "SET xmloption = content", "SET row_security = off"]
    return [
        psql.path,
        *("--no-psqlrc", "--no-password", "--set=VERBOSITY=terse", "--set=ON_ERROR_STOP=1"),
        *(f"--command={'; '.join(settings)}", f"--command={copy_in_statement(segment)}"),
        f"--dbname={conninfo}",
    ]


def copied_rows(printed: str) -> int | None:
    """Return the number of rows that psql has restored, from what it printed; None if it restored none."""
    match = _COPIED.search(printed)
    return int(match[1]) if match else None


def list_command(program: ClientProgram) -> list[str]:
    """Return the command that lists the archive on stdin. It reads only the beginning."""
    return [program.path, "--list"]


def listed_entries(listing: str) -> list[tuple[int, str]]:
    """Return the number and the description of each entry that `pg_restore --list` prints."""
    return [(int(number), what) for number, what in _LISTED.findall(listing)]


def constraint_lists(listing: str) -> list[list[int]]:
    """Divide the entries of an archive into lists to restore one after another.

    A foreign key of a partitioned table deadlocks with a statement that attaches a partition of its index.
    pg_restore starts both at the same time, so foreign keys, and what pg_dump sorts after them, are a list apart.

    Row security comes last: foreign keys, materialised views and functions of indexes read tables, and fail at a
    policy. Event triggers come with it, so that they do not see it enabled.
    """
    entries = listed_entries(listing)
    has_row_security = any(what.startswith(_ROW_SECURITY) for _, what in entries)
    last_kinds = (_ROW_SECURITY, *_OF_EVENT_TRIGGERS) if has_row_security else ()
    last = [number for number, what in entries if what.startswith(last_kinds)]
    early = [(number, what) for number, what in entries if not what.startswith(last_kinds)]
    numbers = [number for number, _ in early]
    lists = [numbers]
    keys = [position for position, (_, what) in enumerate(early) if what.startswith("FK CONSTRAINT ")]
    if keys and any(what.startswith("INDEX ATTACH ") for _, what in early):
        lists = [numbers[: keys[0]], numbers[keys[0] :]]
    return [*lists, last] if last else lists


def script_command(program: ClientProgram, archive: Path) -> list[str]:
    """Return the command that prints an archive of definitions as SQL, with the dependencies of each entry."""
    return [program.path, "--verbose", "--section=pre-data", "--section=post-data", "--file=-", str(archive)]


def list_with_needs_command(program: ClientProgram, archive: Path) -> list[str]:
    """Return the command that lists an archive of definitions, with the dependencies of each entry."""
    return [program.path, "--list", "--verbose", str(archive)]


def _base(program: ClientProgram, use_list: Path | None) -> list[str]:
    selected = [f"--use-list={use_list}"] if use_list is not None else []
    return [program.path, "--exit-on-error", "--no-password", *selected]
