"""The command lines that bring a set's archives into a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobs.backup.postgres.programs import Program

Section = Literal["pre-data", "post-data"]

# A restore is repeated when the server falls; and an index is built several times faster in memory.
OPTIONS = "-c synchronous_commit=off -c maintenance_work_mem=256MB"


@dataclass(frozen=True, slots=True)
class Manner:
    """What of the definitions the target can take, or shall."""

    owners: bool = True
    privileges: bool = True
    tablespaces: bool = True
    subscriptions: bool = True

    @property
    def flags(self) -> tuple[str, ...]:
        """For pg_restore: what to leave out."""
        left_out = {
            "--no-owner": self.owners,
            "--no-privileges": self.privileges,
            "--no-tablespaces": self.tablespaces,
            "--no-subscriptions": self.subscriptions,
        }
        return tuple(flag for flag, wanted in left_out.items() if not wanted)


def definitions(
    program: Program,
    conninfo: str,
    section: Section,
    archive: Path,
    manner: Manner,
    *,
    jobs: int = 1,
    only: Path | None = None,
) -> list[str]:
    """One section of the definitions, from a file; indexes and constraints may be made side by side."""
    return [
        *_begun(program, only),
        f"--section={section}",
        *([f"--jobs={jobs}"] if jobs > 1 else []),
        *manner.flags,
        f"--dbname={conninfo}",
        str(archive),
    ]


def rows(program: Program, conninfo: str, manner: Manner, *, only: Path | None = None) -> list[str]:
    """The rows of one part, from stdin."""
    return [*_begun(program, only), "--section=data", *manner.flags, f"--dbname={conninfo}"]


def contents(program: Program) -> list[str]:
    """List what an archive on stdin holds; only its beginning is read."""
    return [program.path, "--list"]


def script(program: Program, archive: Path) -> list[str]:
    """Print an archive of definitions as SQL, with what each entry is and what it depends on."""
    return [program.path, "--verbose", "--file=-", str(archive)]


def _begun(program: Program, only: Path | None) -> list[str]:
    chosen = [f"--use-list={only}"] if only is not None else []
    return [program.path, "--exit-on-error", "--no-password", *chosen]
