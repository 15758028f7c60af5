"""The task of a restore."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.backup.postgres.connection import PLAIN_MONEY, Endpoint
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.restore import pg_restore
from jobs.backup.restore.compare import QualifiedName
from jobs.backup.restore.ordinary_role import OrdinaryRole
from jobs.backup.restore.pg_restore import DefinitionOptions
from jobs.backup.sets.stored import StoredSet
from jobs.run.job import Run


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

    @property
    def reads_set(self) -> Endpoint:
        """The same, with settings that make a restore fast, and the format of money that the set has."""
        into = with_fast_settings(self.executes)
        return into.with_options(PLAIN_MONEY) if self.stored.description.plain_money else into


def known_names(task: RestoreTask) -> list[QualifiedName]:
    """Return the names of the tables and sequences in the set."""
    description = task.stored.description
    tables = [(table.schema, table.name) for table in description.tables]
    return tables + [(sequence.schema, sequence.name) for sequence in description.sequences]


def with_fast_settings(into: Endpoint) -> Endpoint:
    """Return the endpoint with the settings that make a restore fast."""
    return into.with_options(pg_restore.SERVER_OPTIONS)
