"""The job `verify`, for backup sets and for stanzas of pgBackRest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from inventories import PITR
from jobs.backup import VERIFY
from jobs.run.job import Options, Result, Run, UnknownName

if TYPE_CHECKING:
    from inventories import Environment, PitrSettings
    from jobs.store import Store

FIGURES = (
    "recovery_seconds",
    "recovery_point_seconds",
    "reachable_since_timestamp_seconds",
    "reachable_until_timestamp_seconds",
)
"""What the status shows of the newest verification of a stanza."""


def stanza_of(environment: Environment, subject: str) -> PitrSettings | None:
    """Return the stanza that a subject names; None if it names a database, a server or a copy, or no stanza."""
    kind, _, name = subject.partition(".")
    return environment.pitr.get(name) if kind == PITR else None


def is_of_stanza(environment: Environment, subject: str) -> bool:
    """Whether a subject has the form of a stanza's, also of one that the file no longer names."""
    is_other = PITR in environment.servers or PITR in environment.copies
    return subject.startswith(f"{PITR}.") and not is_other


def subjects(environment: Environment, store: Store, options: Options) -> list[str]:
    """Return what to verify: databases, and stanzas under pitr.NAME. --only also takes the name of a stanza alone."""
    stanzas = [each.subject for each in environment.pitr.values() if each.verify or not options.scheduled]
    if not options.only:
        return [*VERIFY.subjects(environment, store, options), *stanzas]
    named = [_subject_named(environment, name) for name in options.only]
    chosen = [name for name in named if is_of_stanza(environment, name)]
    if unknown := [name for name in chosen if stanza_of(environment, name) is None]:
        known = ", ".join(each.subject for each in environment.pitr.values()) or "none; add [pitr.NAME] to its file"
        raise UnknownName(f"{environment.name}: there is no stanza {unknown[0]}; there are: {known}")
    others = tuple(name for name in named if name not in chosen)
    return [*(VERIFY.subjects(environment, store, replace(options, only=others)) if others else ()), *chosen]


def _subject_named(environment: Environment, name: str) -> str:
    others = (environment.databases, environment.servers, environment.copies)
    is_stanza = name in environment.pitr and not any(name in other for other in others)
    return environment.pitr[name].subject if is_stanza else name


def work(run: Run) -> Result:
    """Verify a stanza, or a backup set."""
    settings = stanza_of(run.environment, run.subject)
    if settings is None:
        return VERIFY.work(run)
    from jobs.pitr.verify import verify_stanza

    return verify_stanza(run, settings)


def schedule(environment: Environment, subject: str) -> str | None:
    """Return the cron line of a subject's verifications."""
    settings = stanza_of(environment, subject)
    if settings is None:
        return VERIFY.schedule(environment, subject)
    return str(settings.verify) if settings.verify else None


def limit(environment: Environment, subject: str) -> timedelta:
    """Return the time limit of a verification."""
    settings = stanza_of(environment, subject)
    return settings.limits.run if settings else VERIFY.limit(environment, subject)


def names_subject(environment: Environment, subject: str) -> bool:
    """Whether the file still names the stanza, or the database."""
    if is_of_stanza(environment, subject):
        return stanza_of(environment, subject) is not None
    return VERIFY.has_subject(environment, subject)


VERIFICATIONS = replace(
    VERIFY, subjects=subjects, work=work, schedule=schedule, limit=limit, has_subject=names_subject,
    compared=(*VERIFY.compared, *FIGURES),
)  # fmt: skip
