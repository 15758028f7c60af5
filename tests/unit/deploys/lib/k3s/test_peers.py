"""The addresses of a cluster's nodes and pods, for the firewall of its hosts."""

from __future__ import annotations

import pytest

from deploys.lib.k3s import peers

KNOWN, UNKNOWN = {"one": "10.0.0.1", "two": "fd00::2"}, {"one": "10.0.0.1", "two": ""}


@pytest.mark.parametrize(
    ("given", "addresses", "has_base", "wanted"),
    [
        (None, KNOWN, False, True),
        (None, UNKNOWN, False, False),
        (None, UNKNOWN, True, True),  # a new node must reach those that host.py has set up
        (True, UNKNOWN, False, True),
        (False, KNOWN, True, False),
    ],
)
def test_k3s_keeps_the_firewall_of_the_base_up_to_date(
    given: object, addresses: dict[str, str], has_base: bool, wanted: bool
) -> None:
    assert peers.is_wanted(given, addresses, has_base=has_base) is wanted
    assert list(peers.firewall_faults(given, addresses)) == []


def test_a_name_as_k3s_address_is_a_fault_if_group_data_asks_for_the_firewall() -> None:
    [fault] = peers.firewall_faults(True, {"one": "10.0.0.1", "two": "two.acme.example"})
    assert "k3s_address of two is two.acme.example, not an IP address" in fault


def test_addresses_of_pods_and_containers_are_not_those_of_a_host() -> None:
    lines = [
        "1: lo    inet 127.0.0.1/8 scope host lo\\   valid_lft forever preferred_lft forever",
        "2: eth0    inet 192.0.2.7/24 brd 192.0.2.255 scope global eth0\\   valid_lft forever preferred_lft forever",
        "2: eth0    inet6 2001:db8::7/64 scope global dynamic \\       valid_lft 86 preferred_lft 14",
        "2: eth0    inet6 2001:db8::abcd/64 scope global temporary dynamic \\       valid_lft 86 preferred_lft 14",
        "2: eth0    inet6 fe80::1/64 scope link \\   valid_lft forever preferred_lft forever",
        "3: ens7    inet 10.0.0.7/32 brd 10.0.0.7 scope global ens7\\   valid_lft forever preferred_lft forever",
        "4: cni0    inet 10.42.0.1/24 brd 10.42.0.255 scope global cni0\\   valid_lft forever preferred_lft forever",
    ]
    assert peers.own_addresses(lines) == ("192.0.2.7", "2001:db8::7", "10.0.0.7")


def test_networks_of_pods_are_those_of_the_configuration() -> None:
    assert peers.pod_networks({}) == ("10.42.0.0/16",)
    assert peers.pod_networks({"cluster-cidr": "10.50.0.0/16,fd42::/56"}) == ("10.50.0.0/16", "fd42::/56")


@pytest.mark.parametrize(
    ("config", "faults"),
    [
        ({}, []),
        ({"cluster-cidr": "10.0.0.0/8"}, ["10.0.0.7 of a node is in cluster-cidr, 10.0.0.0/8"]),
        ({"service-cidr": ["10.43.0.0/16", "fd00::/112"]}, ["fd00::7 of a node is in service-cidr, fd00::/112"]),
        ({"cluster-cidr": "10.42.0.0/16,fd42::/56", "service-cidr": "10.43.0.0"}, []),
        ({"service-cidr": "10.43"}, ["service-cidr: 10.43 is not a network; write one such as 10.43.0.0/16"]),
    ],
)
def test_nodes_have_other_networks_than_pods_and_services(config: dict[str, object], faults: list[str]) -> None:
    found = list(peers.network_faults(config, ["10.0.0.7", "fd00::7", "one.internal"]))
    assert len(found) == len(faults), found
    for fault, expected in zip(found, faults, strict=True):
        assert expected in fault


def test_a_network_of_nodes_that_is_that_of_pods_is_a_fault_by_default() -> None:
    assert len(list(peers.network_faults({}, ["10.42.3.4", "10.43.0.9", "10.44.0.9"]))) == 2
