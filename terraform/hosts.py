"""The hosts that a stack created, for a pyinfra inventory."""

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
    """Return the groups of the stack's output `pyinfra_inventory`: each host with its name and data."""
    repository = Repository.find(root)
    paths = StackPaths(repository.root, environment, stack)
    output = Stack(paths, repository.read(environment), start_directly).outputs().get(OUTPUT, {})
    return {group: [_host(host) for host in hosts] for group, hosts in output.get("value", {}).items()}


def _host(host: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    data = {key: value for key, value in host.items() if key != "name"}
    return str(host.get("name") or host["ssh_hostname"]), data
