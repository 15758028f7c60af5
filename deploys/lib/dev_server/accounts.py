"""Operations on the accounts of a dev server."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyinfra import host

from deploys.lib.dev_server.developers import (
    LIST_ACCOUNTS,
    Developer,
    account_commands,
    key_file,
    lock_commands,
    parse_accounts,
)
from deploys.lib.facts import HostFacts, command_output, operation_with_facts, paths
from deploys.lib.operations import Steps


@operation_with_facts(lambda group, **_: command_output(f"getent group {group}"))
def create_group(facts: HostFacts, group: str) -> Steps:
    """Create a system group, unless it exists."""
    if not facts.output[f"getent group {group}"]:
        yield f"groupadd --system {group}"


@operation_with_facts(lambda **_: command_output(LIST_ACCOUNTS))
def update_accounts(facts: HostFacts, people: Sequence[Developer], containers: str) -> Steps:
    """Create or correct the account of each developer."""
    existing = parse_accounts(facts.output[LIST_ACCOUNTS])
    commands = [step for person in people for step in account_commands(person, existing.get(person.name), containers)]
    if not commands:
        host.noop("all accounts are up to date")
    yield from commands


@operation_with_facts(lambda names, **_: command_output(LIST_ACCOUNTS) | paths(*map(key_file, names)))
def lock_accounts(facts: HostFacts, names: Sequence[str]) -> Steps:
    """Lock these accounts, end their processes and remove their keys. Home directories stay."""
    existing = parse_accounts(facts.output[LIST_ACCOUNTS])
    for name in names:
        yield from lock_commands(name, existing.get(name))
        if key_file(name) in facts.paths:
            yield f"rm {shlex.quote(key_file(name))}"
