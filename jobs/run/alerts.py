"""Tells people what is news about a job: once, whoever runs it, and at least once, whatever dies in between."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from inventories import Environment, redact
from jobs.run import notices
from jobs.run.delivery import ClaimedMessages, Message, address_id
from jobs.run.documents import from_body, from_iso, to_body, to_iso
from jobs.run.job import Failed, Outcome
from jobs.run.record import Record
from jobs.store import Changed, Exists, Missing, Store, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

CLAIM = timedelta(seconds=30)  # longer than telling takes: who claimed earlier than this has died over it
NEARLY = 0.9  # a job that is a minute faster today shall not put its daily reminder off to tomorrow


class AlertReason(StrEnum):
    """What people don't know yet."""

    FAILING = "is failing"
    RECOVERED = "works again"
    FOUND = "has a finding"
    CHANGED = "has another finding"
    GONE = "has no finding any more"
    REMINDER = "is still as it was told"


@dataclass(frozen=True, slots=True)
class AlertState:
    """What is so, since when, and what people were told."""

    now: Outcome = Outcome.DONE
    since: datetime | None = None
    told: Outcome = Outcome.DONE
    told_at: datetime | None = None
    about: str = ""
    news: str = ""
    owed: tuple[str, ...] = ()
    claimed: datetime | None = None


def alert_reason(
    state: AlertState, outcome: Outcome, about: str, now: datetime, remind: timedelta
) -> AlertReason | None:
    """What a run's outcome adds to what people were told."""
    if outcome is Outcome.DONE:
        return {Outcome.FAILED: AlertReason.RECOVERED, Outcome.FINDING: AlertReason.GONE}.get(state.told)
    if outcome is not state.told:
        return AlertReason.FAILING if outcome is Outcome.FAILED else AlertReason.FOUND
    if outcome is Outcome.FINDING and about != state.about:
        return AlertReason.CHANGED
    due = state.told_at is None or now - state.told_at >= remind * NEARLY
    return AlertReason.REMINDER if due else None


def after_run(state: AlertState, outcome: Outcome, now: datetime) -> AlertState:
    """The state after a run, before anybody was told."""
    return state if state.now is outcome and state.since else replace(state, now=outcome, since=now)


def after_delivery(
    state: AlertState, record: Record, what: AlertReason, failed: tuple[str, ...], now: datetime
) -> AlertState:
    """The state once it was told; who could not be reached is owed it until the next run."""
    about = record.about or record.sentence
    return replace(
        state, told=record.outcome, told_at=now, about=about, news=what.value, owed=failed, claimed=None
    )  # fmt: skip


def alert_message(record: Record, what: AlertReason, since: datetime, environment: Environment) -> Message:
    """A title and a text that a tired person understands."""
    local = since.astimezone(environment.timezone)
    title = f"{record.environment}: {record.job} of {record.subject} {what}"
    more = f"crew runs {record.environment} {record.job} {record.subject}"
    return Message(title, f"{record.sentence}\n\nSince {local:%Y-%m-%d %H:%M %Z}. More: {more}")


def claim_alerts(
    record: Record, environment: Environment, store: Store, log: FilteringBoundLogger, now: Callable[[], datetime]
) -> list[ClaimedMessages]:
    """What this run has to tell, claimed: how the job stands, and its tidings."""
    to = [address_id(address) for address in environment.alerts.to]
    if not to:
        return []
    standing = record
    if record.tidings is not None and record.outcome is Outcome.FINDING:
        standing = replace(record, outcome=Outcome.DONE)  # its findings are told by the tidings
    found = [
        _standing(standing, environment, store, log, to=to, now=now),
        notices.claim_notices(record, store, to, now),
    ]
    return [claim for claim in found if claim]


def _standing(
    record: Record,
    environment: Environment,
    store: Store,
    log: FilteringBoundLogger,
    *,
    to: Sequence[str],
    now: Callable[[], datetime],
) -> ClaimedMessages | None:
    """What is news of how the job stands."""
    key = f"{record.environment}/alerts/{record.job}/{record.subject}.json"
    try:
        claim = _claim(store, key, record, now(), environment.alerts.remind)
    except (StoreError, Failed) as error:
        log.warning("what was told can't be known here: this may be told again", why=redact(str(error)))
        bad = alert_reason(AlertState(), record.outcome, "", now(), environment.alerts.remind)
        letter = alert_message(record, bad, now(), environment) if bad else None
        return ClaimedMessages(dict.fromkeys(to, letter), lambda _failed: None) if letter else None
    if claim is None:
        return None
    state, version, what = claim
    words = what or AlertReason(state.news)
    concerned = [name for name in to if what is not None or name in state.owed]

    def note(failed: Collection[str]) -> None:
        nonlocal version
        nobody = concerned and len(failed) == len(concerned)  # then the next run tries again
        after = replace(state, claimed=None) if nobody else after_delivery(state, record, words, tuple(failed), now())
        version = store.replace(key, _body(after), version)

    letter = alert_message(record, words, state.since or now(), environment)
    return ClaimedMessages(dict.fromkeys(concerned, letter), note)


def _claim(
    store: Store, key: str, record: Record, now: datetime, remind: timedelta
) -> tuple[AlertState, str, AlertReason | None] | None:
    """The right to tell, won by a conditional write; None if there is nothing to tell, or somebody else tells it."""
    while True:
        known, version = _read(store, key)
        state = after_run(known, record.outcome, now)
        what = alert_reason(state, record.outcome, record.about or record.sentence, now, remind)
        telling = state.claimed is not None and now - state.claimed < CLAIM
        nothing = what is None and not state.owed
        claimed = state if telling or nothing else replace(state, claimed=now)
        if claimed == known:
            return None
        try:
            version = store.replace(key, _body(claimed), version) if version else store.create(key, _body(claimed))
        except (Changed, Exists, Missing):
            continue
        return None if claimed is state else (claimed, version, what)


def _read(store: Store, key: str) -> tuple[AlertState, str]:
    try:
        found = store.get(key)
    except Missing:
        return AlertState(), ""
    return from_body(key, found.body, _state_of), found.version


def _state_of(fields: dict[str, Any]) -> AlertState:
    moments = {name: from_iso(fields[name]) for name in ("since", "told_at", "claimed")}
    outcomes = {name: Outcome(fields[name]) for name in ("now", "told")}
    return AlertState(**{**fields, **moments, **outcomes, "owed": tuple(fields["owed"])})


def _body(state: AlertState) -> bytes:
    return to_body({name: to_iso(v) if isinstance(v, datetime) else v for name, v in asdict(state).items()})
