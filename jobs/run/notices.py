"""What people are told once: each key is claimed in the store, with its message, before anybody hears of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from jobs.run.delivery import ClaimedMessages, Message, combine
from jobs.run.documents import from_body, from_iso, to_body, to_iso
from jobs.run.job import Notice
from jobs.run.record import Record
from jobs.store import Changed, Exists, Missing, Store

CLAIM = timedelta(seconds=30)  # longer than telling takes: who claimed earlier than this has died over it
REMEMBERED = 500


@dataclass(frozen=True, slots=True)
class UndeliveredNotice:
    """A message, and the marks of the addresses that have not got it yet."""

    title: str
    text: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoticeState:
    """What is known to people, or will be as soon as what is owed has arrived."""

    known: tuple[str, ...] = ()
    owed: tuple[UndeliveredNotice, ...] = ()
    claimed: datetime | None = None


def known_notices(store: Store, environment: str, job: str, subject: str) -> frozenset[str]:
    """The keys of all that was told of a subject."""
    return frozenset(_read(store, _key(environment, job, subject))[0].known)


def claim_notices(
    record: Record, store: Store, to: Sequence[str], now: Callable[[], datetime]
) -> ClaimedMessages | None:
    """The right to tell a run's tidings and what is owed of earlier ones; None where there is nothing to tell."""
    if record.tidings is None:
        return None
    key = _key(record.environment, record.job, record.subject)
    told = _claimed(store, key, record, to, now())
    if told is None:
        return None

    def note(failed: Collection[str]) -> None:
        arrived = {(one.title, one.text): set(one.to) - set(failed) for one in told.owed}
        _changed(store, key, lambda now: replace(now, owed=still_undelivered(now.owed, arrived), claimed=None))

    letters = {name: [Message(one.title, one.text) for one in told.owed if name in one.to] for name in to}
    return ClaimedMessages({name: combine(mine) for name, mine in letters.items() if mine}, note)


def with_notice(told: NoticeState, tidings: Notice, environment: str, to: Sequence[str]) -> NoticeState:
    """With what is not known yet."""
    if set(tidings.keys) <= set(told.known):
        return told
    owed = UndeliveredNotice(f"{environment}: {tidings.title}", tidings.text, tuple(to))
    return replace(told, known=(*told.known, *tidings.keys)[-REMEMBERED:], owed=(*told.owed, owed))


def still_undelivered(
    owed: Sequence[UndeliveredNotice], arrived: Mapping[tuple[str, str], Collection[str]]
) -> tuple[UndeliveredNotice, ...]:
    """What has not arrived everywhere."""
    left = (
        replace(one, to=tuple(name for name in one.to if name not in arrived.get((one.title, one.text), ())))
        for one in owed
    )
    return tuple(one for one in left if one.to)


def _claimed(store: Store, key: str, record: Record, to: Sequence[str], now: datetime) -> NoticeState | None:
    """What is to be told, won; what another is just telling is left to him, and what is new is kept for later."""
    busy = False

    def claim(was: NoticeState) -> NoticeState:
        nonlocal busy
        told = with_notice(was, record.tidings or Notice(), record.environment, to)
        busy = told.claimed is not None and now - told.claimed < CLAIM
        return told if busy or not told.owed else replace(told, claimed=now)

    told = _changed(store, key, claim)
    return None if busy or not told.owed else told


def _changed(store: Store, key: str, change: Callable[[NoticeState], NoticeState]) -> NoticeState:
    """What is known, changed by a conditional write; begun again as often as somebody else was first."""
    while True:
        was, version = _read(store, key)
        told = change(was)
        if told == was:
            return told
        try:
            if version:
                store.replace(key, _body(told), version)
            else:
                store.create(key, _body(told))
        except (Changed, Exists, Missing):
            continue
        return told


def _key(environment: str, job: str, subject: str) -> str:
    return f"{environment}/alerts/{job}/{subject}/told.json"


def _read(store: Store, key: str) -> tuple[NoticeState, str]:
    try:
        found = store.get(key)
    except Missing:
        return NoticeState(), ""
    return from_body(key, found.body, _told_of), found.version


def _told_of(fields: dict[str, Any]) -> NoticeState:
    owed = tuple(UndeliveredNotice(one["title"], one["text"], tuple(one["to"])) for one in fields["owed"])
    return NoticeState(tuple(fields["known"]), owed, from_iso(fields["claimed"]))


def _body(told: NoticeState) -> bytes:
    return to_body({**asdict(told), "claimed": to_iso(told.claimed)})
