"""The span of moments that a stanza can be restored to, as its repository says now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from jobs.pitr.pgbackrest import find_pgbackrest, list_wal, read_stanzas, require_readable
from jobs.pitr.stanza import choose_repository, gap

if TYPE_CHECKING:
    from inventories import PitrSettings
    from jobs.run.job import Run

_ANSWER = 8.0  # seconds; a person waits for it


@dataclass(frozen=True, slots=True)
class ReachableSpan:
    """What a repository can restore: from the end of its oldest backup until its newest WAL arrived."""

    repository: int
    major: int
    backups: int
    since: datetime
    until: datetime
    newest_wal: datetime | None
    gap: str = ""
    """What to report if WAL is missing."""
    other_faults: tuple[str, ...] = ()
    """What is wrong with the other repositories."""


def read_span(run: Run, settings: PitrSettings) -> ReachableSpan:
    """Ask pgBackRest; PitrError or Transient with the reason if nothing can be restored."""
    program = find_pgbackrest(settings)
    stanzas = read_stanzas(run, program, _ANSWER)
    stanza = choose_repository(stanzas, settings.repository)
    newest = require_readable(stanza)
    archive = list_wal(run, program, stanza, newest.first_segment)
    wal = archive.newest_at
    faults = (f"repository {each.repository}: {each.fault}" for each in stanzas if each.fault and each is not stanza)
    return ReachableSpan(
        stanza.repository,
        stanza.major,
        len(stanza.backups),
        stanza.backups[0].stopped,
        max(newest.stopped, wal) if wal else newest.stopped,
        wal,
        gap(archive),
        () if settings.repository else tuple(faults),
    )
