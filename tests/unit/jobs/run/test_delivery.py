"""Delivery: one message per address, within a time limit; a late answer is still recorded."""

from __future__ import annotations

import threading
from collections.abc import Collection

import pytest

import jobs.log
from inventories import Secret
from jobs.run.delivery import ClaimedMessages, Delivery, Message, address_id, combine
from jobs.run.job import Severity
from jobs.store import Changed, OutOfReach
from tests.parts.patience import until

LOG = jobs.log.get()
A, B = Secret(literal="json://a"), Secret(literal="json://b")


class FakeClaim:
    """A claim that keeps which addresses were reported as unreached."""

    def __init__(self, *addresses: Secret) -> None:
        self.unreached: list[list[str]] = []
        self.claim = ClaimedMessages(
            {address_id(one): Message("staging: a", "first") for one in addresses}, self.record
        )

    def record(self, unreached: Collection[str]) -> None:
        self.unreached.append(sorted(unreached))


def test_only_addresses_with_a_message_are_used() -> None:
    fake, sent = FakeClaim(A), []

    def send(address: Secret, message: Message) -> bool:
        sent.append((address, message.title, message.text))
        return True

    assert Delivery([fake.claim], LOG).deliver([A, B], send, 5) == set()
    assert sent == [(A, "staging: a", "first")]
    assert fake.unreached == [[]]


def test_a_late_answer_is_recorded_when_it_comes() -> None:
    fake, answer = FakeClaim(A, B), threading.Event()

    def send(address: Secret, message: Message) -> bool:
        return address == A or answer.wait(30)

    assert Delivery([fake.claim], LOG).deliver([A, B], send, 0.05) == {address_id(B)}
    assert fake.unreached == [[address_id(B)]]
    answer.set()
    until(lambda: fake.unreached == [[address_id(B)], []])


def test_a_paused_address_counts_as_unreached() -> None:
    fake = FakeClaim(A, B)
    assert Delivery([fake.claim], LOG).deliver([A, B], lambda *_: True, 5, paused={address_id(B)}) == set()
    assert fake.unreached == [[address_id(B)]]


@pytest.mark.parametrize("fault", [Changed("x"), OutOfReach("y")])
def test_a_failed_record_of_one_claim_does_not_affect_the_others(fault: Exception) -> None:
    def fails(_unreached: Collection[str]) -> None:
        raise fault

    fake = FakeClaim(A)
    Delivery([ClaimedMessages({address_id(A): Message("staging: b", "")}, fails), fake.claim], LOG).deliver(
        [A], lambda *_: True, 5
    )
    assert fake.unreached == [[]]


def test_several_messages_are_combined() -> None:
    two = [Message("staging: a", "first"), Message("production: b", "second")]
    assert combine(two) == Message("production, staging: 2 findings", "staging: a\nfirst\n\nproduction: b\nsecond")


def test_a_combined_message_counts_what_it_has_and_is_as_bad_as_the_worst() -> None:
    some = [Message("dev: a", "", each) for each in (Severity.SUCCESS, Severity.WARNING, Severity.FAILURE)]
    combined = combine([*some, Message("dev: b", "", Severity.FAILURE)])
    assert combined.title == "dev: 2 failures and 1 finding and 1 recovery"
    assert combined.severity is Severity.FAILURE


def test_the_last_line_tells_since_when_and_where_to_look() -> None:
    message = Message("t", "no `route`", since="Since noon.", command="crew runs dev backup shop --last")
    assert message.plain == "no `route`\n\nSince noon. Look closer: crew runs dev backup shop --last"
    assert message.markdown == "```\nno 'route'\n```\nSince noon. Look closer: `crew runs dev backup shop --last`"
    assert Message("t", "").plain == Message("t", "").markdown == ""
