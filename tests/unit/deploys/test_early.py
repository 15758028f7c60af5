"""What ends a deploy before it touches anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploys.early import DeployError, System, every, unfit
from deploys.firewall import faults, ruleset

FIT = System("debian", "12", "bookworm", user=0, memory=2048, disk=9000, cpus=2, container=False)


@pytest.mark.parametrize(
    ("system", "said"),
    [
        (FIT, []),
        (replace(FIT, name="ubuntu", version="24.04"), []),
        (
            replace(FIT, version="11"),
            ["debian 11 is not a system that this deploy knows; it knows Debian 12"],
        ),
        (replace(FIT, user=1000), ["the login is not root; add --sudo"]),
        (replace(FIT, memory=512, disk=10), ["512 MiB of memory", "10 MiB are free"]),
    ],
)
def test_a_host_that_is_not_fit(system: System, said: list[str]) -> None:
    told = unfit(system, memory=1000, disk=5000)
    assert len(told) == len(said)
    assert all(fault.startswith(beginning) for fault, beginning in zip(told, said, strict=True))


def test_all_faults_are_told_at_once() -> None:
    every([])
    with pytest.raises(DeployError, match="one\ntwo"):
        every(["one", "two"])


def test_rules_of_the_firewall() -> None:
    ports = [22, "8000-8100/tcp", {"port": "53/udp", "from": ["10.0.0.0/8", "fd00::/8"]}]
    assert list(faults(ports)) == []
    rules = [line.strip() for line in ruleset(ports).splitlines() if "proto-dst" in line]
    assert rules == [
        "meta l4proto tcp ct original proto-dst 22 accept",
        "meta l4proto tcp ct original proto-dst 8000-8100 accept",
        "ip saddr { 10.0.0.0/8 } meta l4proto udp ct original proto-dst 53 accept",
        "ip6 saddr { fd00::/8 } meta l4proto udp ct original proto-dst 53 accept",
    ]
    assert len(list(faults(["ssh", {"port": 22, "form": []}]))) == 2
