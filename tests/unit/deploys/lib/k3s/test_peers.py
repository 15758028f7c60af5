"""The firewall of cluster hosts."""

from __future__ import annotations

import pytest

from deploys.lib.k3s import peers

KNOWN, UNKNOWN = {"one": "10.0.0.1", "two": "fd00::2"}, {"one": "10.0.0.1", "two": ""}


@pytest.mark.parametrize(
    ("given", "addresses", "wanted"),
    [(None, KNOWN, True), (None, UNKNOWN, False), (True, KNOWN, True), (False, KNOWN, False)],
)
def test_hosts_have_it_if_all_addresses_are_known(given: object, addresses: dict[str, str], wanted: bool) -> None:
    assert peers.is_wanted(given, addresses) is wanted
    assert list(peers.firewall_faults(given, addresses)) == []


def test_an_unknown_address_is_a_fault_if_group_data_asks_for_it() -> None:
    [fault] = peers.firewall_faults(True, UNKNOWN)
    assert fault == "k3s_firewall: the address of two is not known; set k3s_address to it in the inventory"


def test_only_nodes_and_pods_reach_the_ports_of_the_cluster() -> None:
    rules = [line.strip() for line in peers.firewall_rules(KNOWN, {}).splitlines()]
    start = rules.index('iifname "lo" accept')
    assert rules[start + 1 : start + 5] == [
        "ip saddr { 10.0.0.1, 10.42.0.0/16 } accept",
        "ip6 saddr { fd00::2 } accept",
        "tcp dport { 2379-2381, 5001, 10250 } drop",
        "udp dport { 8472, 51820, 51821 } drop",
    ]
    assert "policy accept" in peers.firewall_rules(KNOWN, {}), "SSH and the API stay as they are"
    dual = peers.firewall_rules(KNOWN, {"cluster-cidr": "10.50.0.0/16,fd42::/56"})
    assert "ip saddr { 10.0.0.1, 10.50.0.0/16 } accept" in dual
    assert "ip6 saddr { fd00::2, fd42::/56 } accept" in dual
