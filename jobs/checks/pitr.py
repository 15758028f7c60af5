"""Check that each stanza can be restored and verified here."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from inventories import Environment, PitrSettings
from jobs.checks.check import Check, CheckResult, fault, ok, warn
from jobs.checks.machine import in_hardened_unit

if TYPE_CHECKING:
    from jobs.pitr.span import ReachableSpan
    from jobs.store import Store


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check for each stanza of the file."""
    from jobs.store import open_store

    if environment.store is not None:
        store = open_store(environment.store)
        for settings in environment.pitr.values():
            yield Check(f"pitr {settings.name}", partial(check_stanza, environment, store, settings))


def check_stanza(environment: Environment, store: Store, settings: PitrSettings) -> CheckResult:
    """Ask the repository, and look for what a verification needs."""
    from jobs.backup import installed_clients, verification_fault
    from jobs.pitr.span import read_span
    from jobs.pitr.verify import matching_server
    from jobs.run import unrecorded_run
    from jobs.run.documents import utc_now

    with unrecorded_run(environment, store, "check", settings.subject) as run:
        span = read_span(run, settings)
    matching_server(installed_clients("initdb"), span.major)
    if (reason := verification_fault()) and not in_hardened_unit():
        return fault(
            f"a verification of a stanza needs isolation: {reason}",
            "install bubblewrap and allow user namespaces; see docs/security.md",
        )
    if settings.config.stat().st_mode & stat.S_IROTH:
        return fault(f"every user can read {settings.config} with its secrets", f"chmod 0640 {settings.config}")
    return judge_span(settings, span, utc_now())


def judge_span(settings: PitrSettings, span: ReachableSpan, now: datetime) -> CheckResult:
    """Return the result for a repository that can be read."""
    from jobs.format import format_time, plural
    from jobs.pitr.stanza import behind

    since, until = (format_time(at, now, UTC) for at in (span.since, span.until))
    fact = (
        f"repository {span.repository}: {plural(span.backups, 'backup')}, each moment from {since} to {until} UTC "
        "can be restored"
    )
    if span.gap:
        return fault(f"{fact}, but {span.gap}", "make a new backup: systemctl start groundcrew-pitr-backup@full")
    if late := behind(span.newest_wal, now, settings.limits.behind):
        return warn(f"{fact}; {late}", "run deploys/postgres.py, which checks the archive; or raise limits.behind")
    if span.other_faults:
        return warn(f"{fact}; {'; '.join(span.other_faults)}", "repair it, or set repository in the file")
    return ok(fact)
