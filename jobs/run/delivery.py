"""Delivers claimed messages within a time limit: to all addresses at once, one combined message per address."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from inventories import Secret, redact
from inventories.printable import printable, printable_lines
from jobs.format import plural
from jobs.run.documents import CLOCK_SKEW
from jobs.run.job import Failed, Severity
from jobs.store import Changed, Missing, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

DELIVERY_TIMEOUT = 10.0
STORE_WRITERS = 8
CLAIM_LIFETIME = timedelta(seconds=30)  # longer than a delivery takes: an older claim is of a run that died
_MARKUP = re.compile(
    r"@(?=(?:everyone|here|channel|all|online|room)\b|[*_]{2})|\](?=\()|<(?=[!@#]|https?:|mailto:)", re.IGNORECASE
)
_MARKDOWN = ("discord", "mmost", "mmosts", "slack")  # services that show Markdown, whatever they were sent
_NOUNS = {
    Severity.FAILURE: ("failure", "failures"),
    Severity.WARNING: ("finding", "findings"),
    Severity.SUCCESS: ("recovery", "recoveries"),
    Severity.INFO: ("report", "reports"),
}
MOST_WHOLE_MESSAGES = 10  # when more messages than that are combined, only their titles are sent


def is_claimed(claimed_at: datetime | None, now: datetime) -> bool:
    """Whether another run delivers now what it claimed then."""
    return claimed_at is not None and -CLOCK_SKEW < now - claimed_at < CLAIM_LIFETIME


@dataclass(frozen=True, slots=True)
class Message:
    """A title that says all, a text that can quote anything from outside, and a last line of our own."""

    title: str
    text: str
    severity: Severity = Severity.WARNING
    since: str = ""
    command: str = ""
    """The command that shows more."""

    @property
    def plain(self) -> str:
        """The body as plain text."""
        more = " ".join(filter(None, [self.since, self.command and f"Look closer: {self.command}"]))
        return "\n\n".join(filter(None, [self.text, more]))

    @property
    def markdown(self) -> str:
        """The body for a chat that shows Markdown: what comes from outside is a block in which no markup works."""
        block = f"```\n{_without_backticks(self.text)}\n```" if self.text else ""
        command = self.command and f"Look closer: `{_without_backticks(self.command)}`"
        return "\n".join(filter(None, [block, " ".join(filter(None, [self.since, command]))]))


def _without_backticks(text: str) -> str:
    return text.replace("`", "'")


@dataclass(frozen=True, slots=True)
class ClaimedMessages:
    """Messages by address id that only this run sends, and how to store which addresses were not reached."""

    messages: Mapping[str, Message]
    record_delivery: Callable[[Collection[str]], None]
    urgent: bool = True
    """Whether they are sent in quiet hours, too."""


class Sender(Protocol):
    """Sends one message to one address and returns whether it arrived."""

    def __call__(self, address: Secret, message: Message) -> bool: ...


def address_id(address: Secret) -> str:
    """Return an id by which the store can name an address without revealing it."""
    return hashlib.sha256(repr((address.env, address.file, address.command, address.literal)).encode()).hexdigest()[:16]


def combine(messages: Sequence[Message]) -> Message:
    """Return several messages as one."""
    if len(messages) == 1:
        return messages[0]
    titles_only = len(messages) > MOST_WHOLE_MESSAGES
    environments = sorted({message.title.partition(":")[0] for message in messages})
    parts = [message.title if titles_only else f"{message.title}\n{message.plain}" for message in messages]
    separator = "\n" if titles_only else "\n\n"
    found = [message.severity for message in messages]
    counts = [plural(found.count(each), *_NOUNS[each]) for each in Severity if each in found]
    worst = next(each for each in Severity if each in found)
    return Message(f"{', '.join(environments)}: {' and '.join(counts)}", separator.join(parts), worst)


class Delivery:
    """Sends claimed messages to all addresses at once. An answer after the time limit is still stored."""

    def __init__(self, claims: Sequence[ClaimedMessages], log: FilteringBoundLogger) -> None:
        self._claims, self._log = claims, log
        self._arrived: set[str] = set()
        self._lock = threading.Lock()
        self._recorded = False

    def deliver(self, to: Iterable[Secret], send: Sender, timeout: float, paused: Collection[str] = ()) -> set[str]:
        """Send to all addresses that have messages, except paused ones; return the ids that did not answer in time."""
        addressed = {address_id(address): address for address in to if self._messages_for(address_id(address))}
        threads = {
            name: threading.Thread(target=self._send, args=(name, address, send), daemon=True)
            for name, address in addressed.items()
            if name not in paused
        }
        for thread in threads.values():
            thread.start()
        deadline = time.monotonic() + timeout
        for thread in threads.values():
            thread.join(max(0, deadline - time.monotonic()))
        with self._lock:
            self._record()
            self._recorded = True
        if failed := addressed.keys() - self._arrived:
            self._log.warning(
                "alert not delivered to all", reached=len(addressed) - len(failed), not_reached=len(failed)
            )
        return {name for name, thread in threads.items() if thread.is_alive()}

    def _messages_for(self, name: str) -> list[Message]:
        return [claim.messages[name] for claim in self._claims if name in claim.messages]

    def _send(self, name: str, address: Secret, send: Sender) -> None:
        message = combine(self._messages_for(name))
        try:
            arrived = send(address, message)
        except Exception as error:
            self._log.warning("alert not delivered", to=address.source, why=redact(str(error)))
            return
        with self._lock:
            if arrived:
                self._arrived.add(name)
            if arrived and self._recorded:
                self._record()

    def _record(self) -> None:
        def record(claim: ClaimedMessages) -> None:
            try:
                claim.record_delivery([name for name in claim.messages if name not in self._arrived])
            except (Changed, Missing):
                pass  # another run has sent a newer alert
            except (StoreError, Failed) as error:
                self._log.warning("alert delivered but not recorded; it can repeat", why=redact(str(error)))

        with ThreadPoolExecutor(STORE_WRITERS) as pool:
            list(pool.map(record, self._claims))


def without_markup(text: str) -> str:
    """Return text in which a chat that renders Markdown finds no mention, link or image; a space breaks each of them.

    Discord, Mattermost, Rocket.Chat and Zulip render plain text as Markdown.
    """
    return _MARKUP.sub(r"\g<0> ", text)


def send_by_apprise(address: Secret, message: Message) -> bool:
    """Send through Apprise; return whether it arrived. Nothing that a message quotes works as markup.

    Chats that show Markdown in any case get it as code. All others get plain text.
    """
    import apprise

    # In this thread: a program would wait at its end for Apprise's own pool, however slow a mail server is.
    sender = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, service_timeout=0))
    if not sender.add(address.reveal()):
        return False
    for service in sender:  # a service with a length limit gets a long message in pieces
        service.overflow_mode = apprise.OverflowMode.SPLIT
    title, text = message.title, message.plain
    if address.reveal().partition(":")[0].lower() in _MARKDOWN:
        title, text = f"`{_without_backticks(title)}`", message.markdown
    title, text = without_markup(printable(title)), without_markup(printable_lines(text))
    # An object that is true if everything arrived. Without the format, a mail would contain the text as HTML.
    return bool(
        sender.notify(
            title=title,
            body=text,
            body_format=apprise.NotifyFormat.TEXT,
            notify_type=apprise.NotifyType(message.severity),
        )
    )
