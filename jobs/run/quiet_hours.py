"""Findings in quiet hours: they wait in the store, and the first run of any job after these hours sends them.

A message waits before it counts as delivered. A run that is killed in between lets it wait again under the same key,
so that it is sent once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from inventories import Environment
from jobs.run.delivery import ClaimedMessages, Message, address_id
from jobs.run.job import Failed
from jobs.run.notices import (
    REMEMBERED_KEYS,
    NoticeState,
    UndeliveredNotice,
    claim_undelivered,
    update_notices,
)
from jobs.store import Store, StoreError


def waiting_key(environment: str) -> str:
    return f"{environment}/alerts/quiet/notices.json"


def is_quiet(environment: Environment, now: datetime) -> bool:
    """Whether findings wait now."""
    quiet = environment.alerts.quiet
    return quiet is not None and quiet.include(now.astimezone(environment.timezone).time())


def let_wait(claim: ClaimedMessages, environment: Environment, store: Store, now: datetime) -> None:
    """Keep claimed messages for the time after the quiet hours, and count them as delivered."""
    by_message: dict[Message, list[str]] = {}
    for address, message in claim.messages.items():
        by_message.setdefault(message, []).append(address)
    update_notices(
        store,
        waiting_key(environment.name),
        lambda state: with_waiting(state, list(by_message.items()), f"{now:%Y-%m-%d}"),
    )
    with suppress(StoreError, Failed):  # the next run lets it wait again, under the same key
        claim.record_delivery(())


def with_waiting(state: NoticeState, messages: Sequence[tuple[Message, Collection[str]]], day: str) -> NoticeState:
    """Return the state with messages added that do not wait yet. A reminder of another day is another message."""
    for message, to in messages:
        text = message.plain
        key = f"{day} {hashlib.sha256(f'{message.title}|{text}'.encode()).hexdigest()[:16]}"
        if key not in state.known:
            waiting = UndeliveredNotice(message.title, text, tuple(to), message.severity)
            state = replace(
                state,
                known=(*state.known, key)[-REMEMBERED_KEYS:],
                undelivered=(*state.undelivered, waiting),
            )
    return state


def claim_waiting(environment: Environment, store: Store, now: Callable[[], datetime]) -> list[ClaimedMessages]:
    """Claim what waited; nothing in quiet hours, or if nothing waits."""
    if is_quiet(environment, now()):
        return []
    to = [address_id(address) for address in environment.alerts.all_addresses]
    claim = claim_undelivered(store, waiting_key(environment.name), lambda state: state, to, now)
    return [claim] if claim else []
