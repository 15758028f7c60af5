"""What ends a deploy before it touches anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from deploys.lib.host import firewall, ssh_server
from deploys.lib.host.firewall import faults, ruleset
from deploys.lib.preflight import DeployError, System, every, unfit

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


def test_answers_of_dhcpv6_come_in() -> None:
    come_in = ruleset([22]).partition("chain input {")[2].partition("}\n  chain")[0]
    assert '    ip6 saddr fe80::/10 udp dport 546 accept comment "answers of DHCPv6"\n' in come_in


@pytest.mark.parametrize("verdict", [firewall.TRIAL.verdict, ssh_server.TRIAL.verdict])
def test_what_holds_now_is_said_only_when_it_does(verdict: Callable[..., str]) -> None:
    assert "so the ones before hold again" in verdict(let_in=False, done=True)
    assert "so the ones before come back by themselves within 30 s" in verdict(let_in=False, done=False)
    assert "let us in, but not within 30 s, and were not kept; run it again" in verdict(let_in=True, done=False)
