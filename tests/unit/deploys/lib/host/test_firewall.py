"""The rules of the firewall."""

from __future__ import annotations

from deploys.lib.host.firewall import faults, ruleset


def test_each_open_port_is_one_rule_per_address_family() -> None:
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


def test_answers_of_dhcpv6_are_accepted() -> None:
    input_chain = ruleset([22]).partition("chain input {")[2].partition("}\n  chain")[0]
    assert '    ip6 saddr fe80::/10 udp dport 546 accept comment "answers of DHCPv6"\n' in input_chain
