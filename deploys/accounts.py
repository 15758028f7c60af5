"""The operations on accounts."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra import host
from pyinfra.api import operation

from deploys.developers import KEYS, Accounts, Developer, arrival, departure
from deploys.pieces import Lines, Steps


@operation()
def accounts_are_right(people: Sequence[Developer], containers: str) -> Steps:
    """Everybody named has an account as described."""
    there = host.get_fact(Accounts)
    commands = [step for person in people for step in arrival(person, there.get(person.name), containers)]
    if not commands:
        host.noop("all accounts are as they should be")
    yield from commands


@operation()
def departed_are_out(names: Sequence[str]) -> Steps:
    """Nobody named gets in or has anything running; home folders stay."""
    there = host.get_fact(Accounts)
    keys = host.get_fact(Lines, f"ls {KEYS}")
    for name in names:
        if name in keys:
            yield f"rm {KEYS}/{name}"
        yield from departure(name, there.get(name))
