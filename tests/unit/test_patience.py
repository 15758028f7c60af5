"""Deadlines grow with the load, and waiting in vain says what was seen last."""

from __future__ import annotations

import pytest

from tests.parts import patience


@pytest.mark.parametrize(("load", "allowed"), [(0, 20), (1, 30), (6, 80), (500, 100)])
def test_a_deadline_grows_with_the_load(load: float, allowed: float) -> None:
    assert patience.deadline(10, load) == allowed


def test_until_returns_what_it_waited_for() -> None:
    seen = iter(["", "", "ready"])
    assert patience.until(lambda: next(seen)) == "ready"


def test_waiting_in_vain_says_what_was_seen_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "deadline", lambda seconds: 0.0)
    with pytest.raises(AssertionError, match=r"saw last: \[\]"):
        patience.until(list)
    with pytest.raises(AssertionError, match="saw last: 'starting'"):
        patience.until(list, saw=lambda: "starting")
