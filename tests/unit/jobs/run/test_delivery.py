"""Delivery: one message an address, within the limit, and what arrives late is noted still."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import pytest

import jobs.log
from inventories import Secret
from jobs.run.alert_queue import AlertQueue
from jobs.run.delivery import ClaimedMessages, Delivery, Message, address_id, combine
from jobs.store import Changed, OutOfReach
from tests.parts.runs import environment, until

LOG = jobs.log.get()
A, B = Secret(literal="json://a"), Secret(literal="json://b")


class Notes:
    """Claims that keep what was noted of them."""

    def __init__(self, *addresses: Secret) -> None:
        self.noted: list[list[str]] = []
        self.claim = ClaimedMessages({address_id(one): Message("staging: a", "first") for one in addresses}, self.note)

    def note(self, failed: Collection[str]) -> None:
        self.noted.append(sorted(failed))


def test_only_whom_it_concerns_is_told() -> None:
    notes, told = Notes(A), []

    def send(address: Secret, title: str, text: str) -> bool:
        told.append((address, title, text))
        return True

    assert Delivery([notes.claim], LOG).deliver([A, B], send, 5) == set()
    assert told == [(A, "staging: a", "first")]
    assert notes.noted == [[]]


def test_who_answers_too_late_is_noted_when_he_does() -> None:
    notes, answer = Notes(A, B), threading.Event()

    def send(address: Secret, title: str, text: str) -> bool:
        return address == A or answer.wait(30)

    assert Delivery([notes.claim], LOG).deliver([A, B], send, 0.05) == {address_id(B)}
    assert notes.noted == [[address_id(B)]]
    answer.set()
    until(lambda: notes.noted == [[address_id(B)], []])


def test_who_rests_is_not_asked_and_counts_as_not_reached() -> None:
    notes = Notes(A, B)
    assert Delivery([notes.claim], LOG).deliver([A, B], lambda *_: True, 5, resting={address_id(B)}) == set()
    assert notes.noted == [[address_id(B)]]


@pytest.mark.parametrize("fault", [Changed("x"), OutOfReach("y")])
def test_a_note_that_can_not_be_written_keeps_no_other_from_being_written(fault: Exception) -> None:
    def fails(_failed: Collection[str]) -> None:
        raise fault

    notes = Notes(A)
    Delivery([ClaimedMessages({address_id(A): Message("staging: b", "")}, fails), notes.claim], LOG).deliver(
        [A], lambda *_: True, 5
    )
    assert notes.noted == [[]]


def test_several_messages_are_one() -> None:
    two = [Message("staging: a", "first"), Message("production: b", "second")]
    assert combine(two) == Message("production, staging: 2 alerts", "staging: a\nfirst\n\nproduction: b\nsecond")


def test_a_courier_that_nobody_is_to_hear_from_does_nothing() -> None:
    store: Any = None
    courier = AlertQueue(environment(), store, LOG, lambda: pytest.fail("the clock was asked"))
    courier.add(None)  # type: ignore[arg-type]
    courier.close()
    assert courier._thread is None
