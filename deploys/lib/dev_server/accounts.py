"""The operations on accounts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyinfra import host

from deploys.lib.dev_server.developers import ACCOUNTS, Developer, accounts, arrival, departure, key_of
from deploys.lib.facts import HostFacts, looking, paths, printed
from deploys.lib.operations import Steps


@looking(lambda group, **_: printed(f"getent group {group}"))
def group_is_there(seen: HostFacts, group: str) -> Steps:
    """A group of the system's own kind."""
    if not seen.printed[f"getent group {group}"]:
        yield f"groupadd --system {group}"


@looking(lambda **_: printed(ACCOUNTS))
def accounts_are_right(seen: HostFacts, people: Sequence[Developer], containers: str) -> Steps:
    """Everybody named has an account as described."""
    there = accounts(seen.printed[ACCOUNTS])
    commands = [step for person in people for step in arrival(person, there.get(person.name), containers)]
    if not commands:
        host.noop("all accounts are as they should be")
    yield from commands


@looking(lambda names, **_: printed(ACCOUNTS) | paths(*map(key_of, names)))
def departed_are_out(seen: HostFacts, names: Sequence[str]) -> Steps:
    """Nobody named gets in or has anything running; home folders stay."""
    there = accounts(seen.printed[ACCOUNTS])
    for name in names:
        yield from departure(name, there.get(name))
        if key_of(name) in seen.things:
            yield f"rm {shlex.quote(key_of(name))}"
