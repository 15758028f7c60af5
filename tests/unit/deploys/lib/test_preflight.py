"""Checks that stop a deploy before it changes anything."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.context import ctx_state

from deploys.lib.preflight import (
    DeployError,
    System,
    example_faults,
    hosts_in_limit,
    require_in_limit,
    stop_on_faults,
    system_faults,
)

SUPPORTED = System("debian", "12", "bookworm", user=0, memory=2048, disk=9000, cpus=2, container=False)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (SUPPORTED, []),
        (replace(SUPPORTED, name="ubuntu", version="24.04"), []),
        (replace(SUPPORTED, version="11"), ["debian 11 is not supported; use Debian 12"]),
        (replace(SUPPORTED, user=1000), ["the login is not root; add --sudo"]),
        (
            replace(SUPPORTED, memory=512, disk=10),
            ["the host has 512 MiB of memory and needs 1000", "the disk of /var has 10 MiB free and needs 5000"],
        ),
    ],
)
def test_each_reason_against_a_host_is_a_fault(system: System, expected: list[str]) -> None:
    faults = system_faults(system, memory=1000, disk=5000)
    assert len(faults) == len(expected), faults
    assert all(fault.startswith(beginning) for fault, beginning in zip(faults, expected, strict=True)), faults


def test_one_error_lists_all_faults() -> None:
    stop_on_faults([])
    with pytest.raises(DeployError, match="one\ntwo"):
        stop_on_faults(["one", "two"])


def test_hosts_that_limit_excludes() -> None:
    inventory = SimpleNamespace(get_host=lambda name: name)
    state: Any = SimpleNamespace(inventory=inventory, is_host_in_limit=lambda host: host in {"db-1", "db-3"})
    with ctx_state.use(state):
        assert hosts_in_limit(["db-3", "db-2", "db-1"]) == ["db-3", "db-1"]
        require_in_limit(["db-1", "db-3"], "both take part")
        with pytest.raises(DeployError, match=r"--limit excludes db-2, db-0; all take part; run it without --limit"):
            require_in_limit(["db-2", "db-1", "db-0"], "all take part")


def test_hosts_that_the_repository_ships_are_a_fault() -> None:
    groups = ["k3s_servers", "staging"]
    assert list(example_faults({"10.0.0.1": groups, "server-1.acme.com": groups, "lab-1": groups})) == []
    [fault] = example_faults({"10.0.0.1": groups, "server-1.acme.example": groups})
    assert fault == (
        "server-1.acme.example: these hosts are examples; write your own into inventories/staging, or set "
        "STAGING_K3S_SERVERS"
    )
    [fault] = example_faults({"dev-1.acme.example": ["dev_servers", "dev"]})
    assert fault.endswith("write your own into inventories/dev, or set DEV_SERVERS")
