"""Messages that are sent once: before a notice is sent, its keys and its text are claimed in the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jobs.run import documents
from jobs.run.delivery import ClaimedMessages, Message, combine, is_claimed
from jobs.run.documents import from_iso
from jobs.run.job import Notice, Severity
from jobs.run.record import Record
from jobs.store import Store

REMEMBERED_KEYS = 500


@dataclass(frozen=True, slots=True)
class UndeliveredNotice:
    """A message, and the ids of the addresses that have not received it yet."""

    title: str
    text: str
    to: tuple[str, ...]
    severity: Severity = Severity.WARNING

    @property
    def message(self) -> Message:
        return Message(self.title, self.text, self.severity)


@dataclass(frozen=True, slots=True)
class NoticeState:
    """The keys of all notices of a subject, and the messages that are still to be delivered."""

    known: tuple[str, ...] = ()
    undelivered: tuple[UndeliveredNotice, ...] = ()
    claimed_at: datetime | None = None


def known_notices(store: Store, environment: str, job: str, subject: str) -> frozenset[str]:
    """Return the keys of all notices of a subject."""
    state, _ = documents.read(store, _key(environment, job, subject), _parse, NoticeState())
    return frozenset(state.known)


def claim_notices(
    record: Record, store: Store, to: Sequence[str], now: Callable[[], datetime]
) -> ClaimedMessages | None:
    """Claim a run's notice and the undelivered notices of earlier runs; None if there is nothing to send."""
    notice = record.notice
    if notice is None:
        return None
    key = _key(record.environment, record.job, record.subject)
    return claim_undelivered(store, key, lambda state: with_notice(state, notice, record.environment, to), to, now)


def claim_undelivered(
    store: Store, key: str, add: Callable[[NoticeState], NoticeState], to: Sequence[str], now: Callable[[], datetime]
) -> ClaimedMessages | None:
    """Add to the messages of a document, and claim all that are undelivered; None if there is nothing to send."""
    state = _claimed_state(store, key, add, now())
    if state is None:
        return None

    def record_delivery(unreached: Collection[str]) -> None:
        arrived = {(notice.title, notice.text): set(notice.to) - set(unreached) for notice in state.undelivered}
        update_notices(
            store,
            key,
            lambda latest: replace(latest, undelivered=still_undelivered(latest.undelivered, arrived), claimed_at=None),
        )

    messages = {address: [notice.message for notice in state.undelivered if address in notice.to] for address in to}
    combined = {address: combine(some) for address, some in messages.items() if some}
    return ClaimedMessages(combined, record_delivery, urgent=False)


def with_notice(state: NoticeState, notice: Notice, environment: str, to: Sequence[str]) -> NoticeState:
    """Return the state with a notice added, unless all of its keys are known."""
    if set(notice.keys) <= set(state.known):
        return state
    undelivered = UndeliveredNotice(f"{environment}: {notice.title}", notice.text, tuple(to), notice.severity)
    return replace(
        state,
        known=(*state.known, *notice.keys)[-REMEMBERED_KEYS:],
        undelivered=(*state.undelivered, undelivered),
    )


def still_undelivered(
    undelivered: Sequence[UndeliveredNotice], arrived: Mapping[tuple[str, str], Collection[str]]
) -> tuple[UndeliveredNotice, ...]:
    """Return the notices that some address has not received, each with those addresses."""
    remaining = (
        replace(
            notice,
            to=tuple(address for address in notice.to if address not in arrived.get((notice.title, notice.text), ())),
        )
        for notice in undelivered
    )
    return tuple(notice for notice in remaining if notice.to)


def _claimed_state(
    store: Store, key: str, add: Callable[[NoticeState], NoticeState], now: datetime
) -> NoticeState | None:
    """Claim what is undelivered; None if there is nothing, or while another run delivers. New notices are stored."""
    others_deliver = False

    def claim(stored: NoticeState) -> NoticeState:
        nonlocal others_deliver
        state = add(stored)
        others_deliver = is_claimed(state.claimed_at, now)
        return state if others_deliver or not state.undelivered else replace(state, claimed_at=now)

    state = update_notices(store, key, claim)
    return None if others_deliver or not state.undelivered else state


def update_notices(store: Store, key: str, change: Callable[[NoticeState], NoticeState]) -> NoticeState:
    """Change the messages of a document by compare-and-swap, and return them."""
    state, _ = documents.update(store, key, change, parse=_parse, initial=NoticeState())
    return state


def _key(environment: str, job: str, subject: str) -> str:
    return f"{environment}/alerts/{job}/{subject}/notices.json"


def _parse(fields: dict[str, Any]) -> NoticeState:
    undelivered = tuple(
        UndeliveredNotice(
            notice["title"],
            notice["text"],
            tuple(notice["to"]),
            Severity(notice.get("severity", Severity.WARNING)),
        )
        for notice in fields["undelivered"]
    )
    return NoticeState(tuple(fields["known"]), undelivered, from_iso(fields["claimed_at"]))
