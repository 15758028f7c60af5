"""The stanzas of point-in-time recovery in `crew backups list`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from jobs.cli import output
from jobs.format import format_duration, format_time
from jobs.run.documents import to_second
from jobs.run.job import Failed, Transient
from jobs.status.stanzas import StanzaStatus

if TYPE_CHECKING:
    from inventories import Environment, PitrSettings
    from jobs.pitr.span import ReachableSpan
    from jobs.store import Store

_READERS = 4


@dataclass(frozen=True, slots=True)
class ListedStanza:
    """What the repository of a stanza can restore now, or why that is unknown here; and its last verification."""

    settings: PitrSettings
    span: ReachableSpan | None
    why_unknown: str
    status: StanzaStatus

    @property
    def since(self) -> datetime | None:
        return self.span.since if self.span else self.status.since

    @property
    def until(self) -> datetime | None:
        return self.span.until if self.span else self.status.until


def stanza_as_json(listed: ListedStanza) -> dict[str, Any]:
    """Return a stanza for --json."""
    return {
        "name": listed.settings.name,
        "stanza": listed.settings.stanza,
        "repository": listed.span.repository if listed.span else listed.settings.repository,
        "backups": listed.span.backups if listed.span else None,
        "since": to_second(listed.since),
        "until": to_second(listed.until),
        "from": "repository" if listed.span else "verification" if listed.since else None,
        "why_unknown": listed.why_unknown,
        "verified": to_second(listed.status.verified),
        "verification_failed": listed.status.failed,
        "recovery_seconds": _seconds(listed.status.recovery_time),
        "recovery_point_seconds": _seconds(listed.status.recovery_point),
    }


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def listed_stanzas(environment: Environment, store: Store) -> list[ListedStanza]:
    """Ask the repository of each stanza. Where that fails, the last verification says what was there."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda each: _listed(environment, store, each), environment.pitr.values()))


def _listed(environment: Environment, store: Store, settings: PitrSettings) -> ListedStanza:
    from jobs.pitr.span import read_span
    from jobs.run import unrecorded_run
    from jobs.run.lease import read_holder
    from jobs.status.health import subject_health

    holder = read_holder(store, environment.name, "verify", settings.subject)
    health = subject_health(f"verify/{settings.subject}", holder, None, datetime.now(UTC)) if holder else None
    status = StanzaStatus(settings.name, health)
    try:
        with unrecorded_run(environment, store, "backups", settings.subject) as run:
            return ListedStanza(settings, read_span(run, settings), "", status)
    except (Failed, Transient) as error:
        return ListedStanza(settings, None, error.on_one_line, status)


def print_stanzas(listed: Sequence[ListedStanza], now: datetime, zone: tzinfo, *, below: bool) -> None:
    """Print a line for each stanza, after an empty one if it is `below` a table, and why a repository has no answer."""
    if below:
        output.say("")
    output.say("Point-in-time recovery:", output.HEADING)
    header = ("stanza", "from", "to", "backups", "verified", "recovery time", "recovery point")
    output.table([_row(each, now, zone) for each in listed], header, indent=2)
    for each in listed:
        if each.why_unknown:
            what = "as of its last verification" if each.since else "unknown"
            output.say(f"  {each.settings.name}: {what}, because: {each.why_unknown}", output.WARN)


def _row(listed: ListedStanza, now: datetime, zone: tzinfo) -> tuple[output.Cell | str, ...]:
    def moment(at: datetime | None) -> str:
        return format_time(at, now, zone) if at else "unknown"

    def length(value: timedelta | None) -> str:
        return "unknown" if value is None else format_duration(value)

    status = listed.status
    verified = output.Cell("never", output.WARN)
    if status.failed:
        verified = output.Cell("failed", output.BAD)
    elif status.verified:
        verified = output.Cell(f"{format_duration(now - status.verified)} ago", output.GOOD)
    return (
        listed.settings.name,
        moment(listed.since),
        moment(listed.until),
        str(listed.span.backups) if listed.span else "unknown",
        verified,
        length(status.recovery_time),
        length(status.recovery_point),
    )
