"""Tells people what is news about a job: once, whoever runs it, and at least once, whatever dies in between."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from inventories import Environment, Secret, redact
from jobs.run.documents import from_body, from_iso, to_body, to_iso, utc_now
from jobs.run.job import Failed, Outcome
from jobs.run.record import Record
from jobs.store import Changed, Exists, Missing, Store, StoreError

LIMIT = 10.0
CLAIM = timedelta(seconds=30)  # longer than telling takes: who claimed earlier than this has died over it
NEARLY = 0.9  # a job that is a minute faster today shall not put its daily reminder off to tomorrow


class News(StrEnum):
    """What people don't know yet."""

    FAILING = "is failing"
    RECOVERED = "works again"
    FOUND = "has a finding"
    CHANGED = "has another finding"
    GONE = "has no finding any more"
    REMINDER = "is still as it was told"


@dataclass(frozen=True, slots=True)
class State:
    """What is so, since when, and what people were told."""

    now: Outcome = Outcome.DONE
    since: datetime | None = None
    told: Outcome = Outcome.DONE
    told_at: datetime | None = None
    about: str = ""
    news: str = ""
    owed: tuple[str, ...] = ()
    claimed: datetime | None = None


class Send(Protocol):
    """Delivers one message to one address, and says whether it arrived."""

    def __call__(self, address: Secret, title: str, text: str) -> bool: ...


def news(state: State, outcome: Outcome, about: str, now: datetime, remind: timedelta) -> News | None:
    """What a run's outcome adds to what people were told."""
    if outcome is Outcome.DONE:
        return {Outcome.FAILED: News.RECOVERED, Outcome.FINDING: News.GONE}.get(state.told)
    if outcome is not state.told:
        return News.FAILING if outcome is Outcome.FAILED else News.FOUND
    if outcome is Outcome.FINDING and about != state.about:
        return News.CHANGED
    due = state.told_at is None or now - state.told_at >= remind * NEARLY
    return News.REMINDER if due else None


def seen(state: State, outcome: Outcome, now: datetime) -> State:
    """The state after a run, before anybody was told."""
    return state if state.now is outcome and state.since else replace(state, now=outcome, since=now)


def noted(state: State, record: Record, what: News, failed: tuple[str, ...], now: datetime) -> State:
    """The state once it was told; who could not be reached is owed it until the next run."""
    about = record.about or record.sentence
    return replace(
        state, told=record.outcome, told_at=now, about=about, news=what.value, owed=failed, claimed=None
    )  # fmt: skip


def message(record: Record, what: News, since: datetime, environment: Environment) -> tuple[str, str]:
    """A title and a text that a tired person understands."""
    local = since.astimezone(environment.timezone)
    title = f"{record.environment}: {record.job} of {record.subject} {what}"
    more = f"crew runs {record.environment} {record.job} {record.subject}"
    return title, f"{record.sentence}\n\nSince {local:%Y-%m-%d %H:%M %Z}. More: {more}"


def tell(
    record: Record,
    environment: Environment,
    store: Store,
    log: FilteringBoundLogger,
    *,
    now: Callable[[], datetime] = utc_now,
    send: Send | None = None,
) -> None:
    """Claim what is news, tell it, note that it was told."""
    settings = environment.alerts
    if not settings.to:
        return
    send, since = send or by_apprise, now()
    key = f"{record.environment}/alerts/{record.job}/{record.subject}.json"
    try:
        claim = _claim(store, key, record, now(), settings.remind)
    except (StoreError, Failed) as error:
        log.warning("what was told can't be known here: this may be told again", why=redact(str(error)))
        if words := news(State(), record.outcome, "", since, settings.remind):
            _deliver(settings.to, message(record, words, since, environment), send, log)
        return
    if claim is None:
        return
    state, version, what = claim
    to = [address for address in settings.to if what is not None or mark(address) in state.owed]
    words = what or News(state.news)
    failed = _deliver(to, message(record, words, state.since or since, environment), send, log)
    if len(failed) < len(to) or not to:
        after = noted(state, record, words, failed, now())
    else:
        after = replace(state, claimed=None)  # nobody knows yet: the next run tries again
    store.replace(key, _body(after), version)


def _claim(
    store: Store, key: str, record: Record, now: datetime, remind: timedelta
) -> tuple[State, str, News | None] | None:
    """The right to tell, won by a conditional write; None if there is nothing to tell, or somebody else tells it."""
    while True:
        known, version = _read(store, key)
        state = seen(known, record.outcome, now)
        what = news(state, record.outcome, record.about or record.sentence, now, remind)
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


def _read(store: Store, key: str) -> tuple[State, str]:
    try:
        found = store.get(key)
    except Missing:
        return State(), ""
    return from_body(key, found.body, _state_of), found.version


def _state_of(fields: dict[str, Any]) -> State:
    moments = {name: from_iso(fields[name]) for name in ("since", "told_at", "claimed")}
    outcomes = {name: Outcome(fields[name]) for name in ("now", "told")}
    return State(**{**fields, **moments, **outcomes, "owed": tuple(fields["owed"])})


def _body(state: State) -> bytes:
    return to_body({name: to_iso(v) if isinstance(v, datetime) else v for name, v in asdict(state).items()})


def mark(address: Secret) -> str:
    """Names an address in the store without giving it away."""
    return hashlib.sha256(repr((address.env, address.file, address.command, address.literal)).encode()).hexdigest()[:16]


def _deliver(to: Sequence[Secret], words: tuple[str, str], send: Send, log: FilteringBoundLogger) -> tuple[str, ...]:
    """Send to all at once, within the limit; the marks of those it did not reach are returned."""
    arrived: set[str] = set()

    def one(address: Secret) -> None:
        try:
            if send(address, *words):
                arrived.add(mark(address))
        except Exception as error:
            log.warning("alert not delivered", to=address.source, why=redact(str(error)))

    threads = [threading.Thread(target=one, args=(address,), daemon=True) for address in to]
    for thread in threads:
        thread.start()
    until = time.monotonic() + LIMIT
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    failed = tuple(mark(address) for address in to if mark(address) not in arrived)
    if failed:
        log.warning("alert not told to all", reached=len(to) - len(failed), not_reached=len(failed))
    return failed


def by_apprise(address: Secret, title: str, text: str) -> bool:
    """Send through Apprise, whose answer is an object that is true if everything arrived."""
    import apprise

    # In this thread, not in Apprise's pool, which a program waits for at its end however slow a mail server is.
    sender = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, service_timeout=0))
    return bool(sender.add(address.reveal())) and bool(sender.notify(title=title, body=text))
