"""Alerts about a job. Each alert is sent at least once, even after a crash, and normally only once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from inventories import Environment, redact
from jobs.run import documents, notices
from jobs.run.delivery import ClaimedMessages, Message, address_id, is_claimed
from jobs.run.documents import CLOCK_SKEW, document_fields, from_iso, to_body
from jobs.run.job import Failed, Outcome, Severity
from jobs.run.record import Record
from jobs.store import Store, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

TITLE_QUOTES = 90  # characters of the sentence in a title, so that a subject line shows it whole
ALMOST_DUE = 0.9  # a job that ends a minute earlier today must not delay its daily reminder until tomorrow


class AlertReason(StrEnum):
    """Why people get an alert, as the end of its title."""

    FAILING = "is failing"
    RECOVERED = "works again"
    FOUND = "has a finding"
    CHANGED = "has a different finding"
    GONE = "no longer has a finding"
    REMINDER = "still has the same problem"


@dataclass(frozen=True, slots=True)
class AlertState:
    """The outcome of a subject's last run, since when, and what the last alert said."""

    outcome: Outcome = Outcome.DONE
    since: datetime | None = None
    alerted: Outcome = Outcome.DONE
    alerted_at: datetime | None = None
    about: str = ""
    reason: str = ""
    undelivered: tuple[str, ...] = ()
    claimed_at: datetime | None = None


def alert_reason(
    state: AlertState, outcome: Outcome, about: str, now: datetime, remind: timedelta
) -> AlertReason | None:
    """Return why a run's outcome needs an alert after the last one; None if it needs none."""
    if outcome is Outcome.DONE:
        return {Outcome.FAILED: AlertReason.RECOVERED, Outcome.FINDING: AlertReason.GONE}.get(state.alerted)
    if outcome is not state.alerted:
        return AlertReason.FAILING if outcome is Outcome.FAILED else AlertReason.FOUND
    if outcome is Outcome.FINDING and about != state.about:
        return AlertReason.CHANGED
    was_reminded = state.alerted_at is not None and -CLOCK_SKEW < now - state.alerted_at < remind * ALMOST_DUE
    return None if was_reminded else AlertReason.REMINDER


def after_run(state: AlertState, outcome: Outcome, now: datetime) -> AlertState:
    """Return the state after a run, before any alert."""
    return state if state.outcome is outcome and state.since else replace(state, outcome=outcome, since=now)


def after_delivery(
    state: AlertState, record: Record, reason: AlertReason, unreached: tuple[str, ...], now: datetime
) -> AlertState:
    """Return the state after an alert; the next run sends it to the addresses that were not reached."""
    return replace(
        state,
        alerted=record.outcome,
        alerted_at=now,
        about=record.about or record.sentence,
        reason=reason.value,
        undelivered=unreached,
        claimed_at=None,
    )


def alert_message(record: Record, reason: AlertReason, since: datetime, environment: Environment) -> Message:
    """Return the message of an alert. Its title alone says what is wrong."""
    local = since.astimezone(environment.timezone)
    is_over = reason in (AlertReason.RECOVERED, AlertReason.GONE)
    title = f"{record.environment}: {record.job} of {record.subject} {reason}"
    if record.sentence and not is_over:
        title += f": {shorten(record.sentence, TITLE_QUOTES, placeholder=' …')}"
    return Message(
        title,
        record.sentence,
        Severity.SUCCESS if is_over else Severity.FAILURE if record.outcome is Outcome.FAILED else Severity.WARNING,
        since=f"{'At' if is_over else 'Since'} {local:%Y-%m-%d %H:%M %Z}.",
        command=f"crew runs {record.environment} {record.job} {record.subject} --last",
    )


def claim_alerts(
    record: Record, environment: Environment, store: Store, log: FilteringBoundLogger, now: Callable[[], datetime]
) -> list[ClaimedMessages]:
    """Claim all messages that a run causes: the alert about its outcome, and its notice."""
    to = [address_id(address) for address in environment.alerts.addresses_of(record.job)]
    if not to:
        return []
    alerting = record
    if record.notice is not None and record.outcome is Outcome.FINDING:
        alerting = replace(record, outcome=Outcome.DONE)  # the notice reports its findings
    claims = [
        _claim_alert(alerting, environment, store, log, to=to, now=now),
        notices.claim_notices(record, store, to, now),
    ]
    return [claim for claim in claims if claim]


def _claim_alert(
    record: Record,
    environment: Environment,
    store: Store,
    log: FilteringBoundLogger,
    *,
    to: Sequence[str],
    now: Callable[[], datetime],
) -> ClaimedMessages | None:
    """Claim the alert about a run's outcome; without a store, send it without a claim."""
    key = f"{record.environment}/alerts/{record.job}/{record.subject}.json"
    try:
        claim = _claim_state(store, key, record, now(), environment.alerts.remind)
    except (StoreError, Failed) as error:
        log.warning("alert state not readable, the alert can repeat", why=redact(str(error)))
        reason = alert_reason(AlertState(), record.outcome, "", now(), environment.alerts.remind)
        if reason is None:
            return None
        message = alert_message(record, reason, now(), environment)
        return ClaimedMessages(dict.fromkeys(to, message), lambda _unreached: None)
    if claim is None:
        return None
    state, version, new_reason = claim
    reason = new_reason or AlertReason(state.reason)
    addressed = [address for address in to if new_reason is not None or address in state.undelivered]

    def record_delivery(unreached: Collection[str]) -> None:
        nonlocal version
        if addressed and len(unreached) == len(addressed):  # the next run tries again
            after = replace(state, claimed_at=None)
        else:
            after = after_delivery(state, record, reason, tuple(unreached), now())
        version = store.replace(key, to_body(document_fields(after)), version)

    message = alert_message(record, reason, state.since or now(), environment)
    urgent = message.severity is Severity.FAILURE or reason is AlertReason.RECOVERED
    return ClaimedMessages(dict.fromkeys(addressed, message), record_delivery, urgent=urgent)


def _claim_state(
    store: Store, key: str, record: Record, now: datetime, remind: timedelta
) -> tuple[AlertState, str, AlertReason | None] | None:
    """Claim the alert in the store; None if there is nothing to send, or while another run sends it."""
    reason: AlertReason | None = None
    claimed = False

    def claim(stored: AlertState) -> AlertState:
        nonlocal reason, claimed
        state = after_run(stored, record.outcome, now)
        reason = alert_reason(state, record.outcome, record.about or record.sentence, now, remind)
        claimed = not is_claimed(state.claimed_at, now) and (reason is not None or bool(state.undelivered))
        return replace(state, claimed_at=now) if claimed else state

    state, version = documents.update(store, key, claim, parse=_parse, initial=AlertState())
    return (state, version, reason) if claimed else None


def _parse(fields: dict[str, Any]) -> AlertState:
    times = {name: from_iso(fields[name]) for name in ("since", "alerted_at", "claimed_at")}
    outcomes = {name: Outcome(fields[name]) for name in ("outcome", "alerted")}
    return AlertState(**{**fields, **times, **outcomes, "undelivered": tuple(fields["undelivered"])})
