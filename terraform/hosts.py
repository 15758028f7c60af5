"""Hosts for pyinfra, from what a stack has made: three lines in an inventory."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from inventories import Repository
from terraform.paths import StackPaths
from terraform.program import start_directly
from terraform.stack import Stack

OUTPUT = "pyinfra_inventory"


@cache
def stack_hosts(environment: str, stack: str, root: Path | None = None) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """The groups of hosts in a stack's output `pyinfra_inventory`, each host with its name and data."""
    repository = Repository.find(root)
    place = StackPaths(repository.root, environment, stack)
    groups = Stack(place, repository.read(environment), start_directly).outputs().get(OUTPUT, {}).get("value", {})
    return {group: [_host(one) for one in found] for group, found in groups.items()}


def _host(one: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    settings = {key: value for key, value in one.items() if key != "name"}
    return str(one.get("name") or one["ssh_hostname"]), settings
