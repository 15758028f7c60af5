"""Delivers what was claimed: to all addresses at once, to each in one message, within the limit."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from inventories import Secret, redact
from jobs.run.job import Failed
from jobs.store import Changed, Missing, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

DELIVERY_TIMEOUT = 10.0
STORE_WRITERS = 8  # writes to the store
MOST_WHOLE_MESSAGES = 10  # of more messages than that, one message has the titles alone


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class ClaimedMessages:
    """The right to tell something, won in the store: what for which address, and how to note who was not reached."""

    letters: Mapping[str, Message]
    note: Callable[[Collection[str]], None]


class Sender(Protocol):
    """Delivers one message to one address, and says whether it arrived."""

    def __call__(self, address: Secret, title: str, text: str) -> bool: ...


def address_id(address: Secret) -> str:
    """Names an address in the store without giving it away."""
    return hashlib.sha256(repr((address.env, address.file, address.command, address.literal)).encode()).hexdigest()[:16]


def combine(letters: Sequence[Message]) -> Message:
    """What one address is told at one time, as one message."""
    if len(letters) == 1:
        return letters[0]
    many = len(letters) > MOST_WHOLE_MESSAGES
    environments = sorted({letter.title.partition(":")[0] for letter in letters})
    parts = [letter.title if many else f"{letter.title}\n{letter.text}" for letter in letters]
    return Message(f"{', '.join(environments)}: {len(letters)} alerts", ("\n" if many else "\n\n").join(parts))


class Delivery:
    """One round of deliveries: all addresses at once. Who answers too late is noted still, while the program lives."""

    def __init__(self, claims: Sequence[ClaimedMessages], log: FilteringBoundLogger) -> None:
        self._claims, self._log = claims, log
        self._arrived: set[str] = set()
        self._lock = threading.Lock()
        self._noted = False

    def deliver(self, to: Iterable[Secret], send: Sender, limit: float, resting: Collection[str] = ()) -> set[str]:
        """Tell whom it concerns, but those who rest; the marks of those who did not answer in time are returned."""
        wanted = {address_id(address): address for address in to if self._of(address_id(address))}
        awake = {name: address for name, address in wanted.items() if name not in resting}
        threads = {
            name: threading.Thread(target=self._one, args=(name, address, send), daemon=True)
            for name, address in awake.items()
        }
        for thread in threads.values():
            thread.start()
        until = time.monotonic() + limit
        for thread in threads.values():
            thread.join(max(0, until - time.monotonic()))
        with self._lock:
            self._note()
            self._noted = True
        if failed := wanted.keys() - self._arrived:
            self._log.warning("alert not told to all", reached=len(wanted) - len(failed), not_reached=len(failed))
        return {name for name, thread in threads.items() if thread.is_alive()}

    def _of(self, name: str) -> list[Message]:
        return [claim.letters[name] for claim in self._claims if name in claim.letters]

    def _one(self, name: str, address: Secret, send: Sender) -> None:
        letter = combine(self._of(name))
        try:
            arrived = send(address, letter.title, letter.text)
        except Exception as error:
            self._log.warning("alert not delivered", to=address.source, why=redact(str(error)))
            return
        with self._lock:
            if arrived:
                self._arrived.add(name)
            if arrived and self._noted:
                self._note()

    def _note(self) -> None:
        def one(claim: ClaimedMessages) -> None:
            try:
                claim.note([name for name in claim.letters if name not in self._arrived])
            except (Changed, Missing):
                pass  # somebody else has told more since
            except (StoreError, Failed) as error:
                self._log.warning("told, but not noted: this may be told again", why=redact(str(error)))

        with ThreadPoolExecutor(STORE_WRITERS) as pool:
            list(pool.map(one, self._claims))


def send_by_apprise(address: Secret, title: str, text: str) -> bool:
    """Send through Apprise, whose answer is an object that is true if everything arrived."""
    import apprise

    # In this thread, not in Apprise's pool, which a program waits for at its end however slow a mail server is.
    sender = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, service_timeout=0))
    if not sender.add(address.reveal()):
        return False
    for service in sender:  # a long message in pieces, where a service takes no long ones
        service.overflow_mode = apprise.OverflowMode.SPLIT
    return bool(sender.notify(title=title, body=text))
