"""Turns are shared, and given in the order of the requests."""

from __future__ import annotations

import threading
from fractions import Fraction

from jobs.run.turns import Turns
from tests.parts.patience import until

HALF, THIRD, WHOLE = Fraction(1, 2), Fraction(1, 3), Fraction(1)


def test_shares_of_a_turn_add_up_exactly() -> None:
    turns = Turns(1)
    with turns.taken(THIRD), turns.taken(THIRD), turns.taken(THIRD):
        pass
    with turns.taken(WHOLE):
        pass


def test_a_whole_turn_is_not_overtaken_by_later_shares() -> None:
    turns, order = Turns(1), list[str]()

    def take(name: str, share: Fraction) -> threading.Thread:
        def wait() -> None:
            with turns.taken(share):
                order.append(name)

        waiting = vars(turns)["_waiting"]
        before = len(waiting)
        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: len(waiting) == before + 1)
        return thread

    with turns.taken(HALF):
        threads = [take("whole", WHOLE), take("half", HALF)]
        assert order == [], "the half would fit, but the whole turn comes first"
    for thread in threads:
        thread.join()
    assert order == ["whole", "half"]


def test_a_lent_share_is_for_others_meanwhile() -> None:
    turns = Turns(1)
    with turns.taken(WHOLE), turns.lent(WHOLE), turns.taken(WHOLE):
        pass
