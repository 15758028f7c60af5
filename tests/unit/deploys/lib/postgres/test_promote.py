"""Which standby can be promoted, and what that loses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.lib.postgres import promote
from deploys.lib.postgres.promote import MemberState

OLD = MemberState("db-1", timeline=1, running=True, end=5000, receiver="stopped")
NEW = MemberState(
    "db-2", timeline=1, running=True, in_recovery=True, end=4000, receiver="streaming", last="2026-11-30 07:00:00"
)
STOPPED: dict[str, Any] = {"running": False, "shutdown": True, "checkpoint": 3900}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, ""),
        (
            {},
            {"receiver": "stopped"},
            "db-2 does not stream, and lacks 1,000 bytes of WAL of db-1; its transactions since",
        ),
        (
            {"reachable": False},
            {},
            "db-1 can't be reached, so it can't be stopped; power it off. Its transactions since",
        ),
        (STOPPED, {}, ""),
        (
            {**STOPPED, "checkpoint": 4100},
            {},
            "db-1 is stopped, and db-2 may not have all its WAL; start it if you can",
        ),
        (
            {**STOPPED, "shutdown": False},
            {},
            "start it if you can. Else its transactions since 2026-11-30 07:00:00 UTC",
        ),
        ({**STOPPED, "fenced": "db-2"}, {}, ""),
    ],
)
def test_what_a_promotion_would_lose_is_said(old: dict[str, Any], new: dict[str, Any], expected: str) -> None:
    text = promote.loss(replace(OLD, **old), replace(NEW, **new))
    assert expected in text
    assert bool(text) == bool(expected)


@pytest.mark.parametrize(
    ("old", "new", "other", "lose", "expected"),
    [
        ({}, {}, {}, False, ""),
        ({"reachable": False}, {}, {}, False, "To accept that, add --data lose=yes"),
        ({"reachable": False}, {}, {}, True, ""),
        ({}, {"running": False}, {}, True, "only a standby that runs can be promoted"),
        ({}, {"unfinished": True}, {}, False, "db-2 is not finished: run deploys/postgres.py first"),
        ({}, {"in_recovery": False, "receiver": "stopped"}, {}, False, ""),
        (STOPPED, {}, {"end": 4500}, False, "db-3 has 500 bytes of WAL more than db-2; promote db-3"),
        (STOPPED, {}, {"end": 4500}, True, ""),
    ],
)
def test_a_promotion_that_could_lose_something_is_refused(
    old: dict[str, Any], new: dict[str, Any], other: dict[str, Any], lose: bool, expected: str
) -> None:
    third = replace(NEW, name="db-3", **other)
    faults = list(promote.promotion_faults(replace(OLD, **old), replace(NEW, **new), [third], lose=lose))
    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


def test_the_state_of_a_member_is_read() -> None:
    lines = ["", "no", "1", "in archive recovery", "0/3000060", "t|0/4000000|streaming|2026-11-30 07:00:00|0"]
    state = promote.parse_member("db-2", lines)
    assert state == replace(NEW, checkpoint=0x3000060, end=0x4000000)
    assert str(state) == "db-2: standby, streaming, last transaction at 2026-11-30 07:00:00 UTC, timeline 1"
    stopped = promote.parse_member("db-1", ["db-2", "no", "1", "shut down", "0/3000060", ""])
    assert (stopped.fenced, stopped.shutdown, stopped.running) == ("db-2", True, False)
    assert str(stopped) == "db-1: fenced, because db-2 was promoted"
    assert str(promote.parse_member("db-1", ["", "no", "", "", "", ""])).endswith("and was not stopped cleanly")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("db-2", "", ""), ""),
        (("", "db-2", ""), ""),
        (("db-1", "", ""), "promote: db-1 is not in postgres_standbys, which has db-2"),
        (("", "db-1", ""), "rejoin: db-1 is not in postgres_standbys; move the promoted server"),
        (("db-2", "db-2", ""), "promote and rejoin: use one of them"),
        (("db-2", "", "maybe"), "lose: 'maybe' is not allowed"),
    ],
)
def test_options_are_checked(options: tuple[str, str, str], expected: str) -> None:
    faults = list(promote.request_faults(*options, ["db-2"]))
    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


@pytest.mark.parametrize(
    ("primary", "me", "expected"),
    [
        ({"timeline": 2}, {"timeline": 1}, ""),
        ({"running": False}, {}, "can only follow a primary that runs"),
        ({"timeline": 1}, {"timeline": 2}, "if db-2 was promoted, it is the primary; correct the inventory"),
    ],
)
def test_a_server_joins_only_a_newer_primary(primary: dict[str, Any], me: dict[str, Any], expected: str) -> None:
    faults = list(promote.rejoin_faults(replace(OLD, **primary), replace(NEW, **me)))
    assert len(faults) == bool(expected)
    assert expected in "".join(faults)
