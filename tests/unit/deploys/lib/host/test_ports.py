"""The ports that a host's groups open."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.lib.host.firewall import Peers, ruleset
from deploys.lib.host.ports import open_ports

CLIENTS = {"postgres_clients": ["10.0.0.0/8"]}
SERVICES = {"postgres_pooler": {"clients": ["10.0.0.9"]}, "postgres_exporter": {"port": 9188}}


@pytest.mark.parametrize(
    ("groups", "data", "k3s_config", "expected"),
    [
        (["job_runners", "staging"], {}, {}, [22]),
        (["dev_servers"], {"open_ports": [22, 8080]}, {}, [22, 8080]),
        (
            ["postgres_servers"],
            {**SERVICES, "metrics_from": ["10.0.0.9"]},
            {},
            [22, *({"port": port, "from": ["10.0.0.9"]} for port in (6432, 9188, 9100))],
        ),
        (["postgres_servers"], SERVICES, {}, [22, {"port": 6432, "from": ["10.0.0.9"]}]),
        (["postgres_servers"], {}, {}, [22]),  # PostgreSQL listens on localhost
        (["postgres_servers"], CLIENTS, {}, [22, {"port": 5432, "from": ["10.0.0.0/8"]}]),
        (["postgres_servers"], {**CLIENTS, "postgres_settings": {"port": "5433"}}, {},
         [22, {"port": 5433, "from": ["10.0.0.0/8"]}]),
        (["k3s_servers"], {}, {}, [22, 6443, 80, 443]),
        (["k3s_agents"], {}, {"disable": "traefik,local-storage"}, [22]),
        (["k3s_servers"], {"open_ports": [2222, {"port": 6443, "from": ["10.0.0.0/8"]}]}, {"disable": ["servicelb"]},
         [2222, {"port": 6443, "from": ["10.0.0.0/8"]}]),
        (["k3s_servers", "postgres_servers"], {"metrics_from": ["10.9.0.1"]}, {"disable": ["traefik"]},
         [22, 6443, {"port": 9100, "from": ["10.9.0.1"]}]),
    ],
)  # fmt: skip
def test_ports_follow_the_groups(
    groups: list[str], data: dict[str, Any], k3s_config: dict[str, Any], expected: list[object]
) -> None:
    assert open_ports(groups, data, k3s_config) == expected


@pytest.mark.parametrize("group", ["postgres_servers", "postgres_standbys"])
def test_primary_and_standbys_reach_each_other(group: str) -> None:
    assert open_ports([group], {}, {}, ["10.0.0.2"]) == [22, {"port": 5432, "from": ["10.0.0.2"]}]
    both = {"port": 5432, "from": ["10.0.0.0/8", "10.0.0.2"]}
    assert open_ports([group], CLIENTS, {}, ["10.0.0.2"]) == [22, both]


def test_peers_reach_every_port_but_only_servers_reach_etcd() -> None:
    rules = ruleset([22], Peers(("10.0.0.1", "10.0.0.2", "fd00::2", "10.42.0.0/16"), ("10.0.0.1",)))
    lines = [line.strip() for line in rules.splitlines()]
    at = lines.index("ip saddr { 10.0.0.1 } tcp dport 2379-2380 accept")
    assert lines[at + 1 : at + 4] == ['tcp dport 2379-2380 drop comment "etcd"', "jump peers", "jump open"]
    assert "ip saddr { 10.0.0.1, 10.0.0.2, 10.42.0.0/16 } accept" in lines
    assert "ip6 saddr { fd00::2 } accept" in lines
    assert lines.count("jump peers") == 2, "also pods that reach a service of another node"
    assert "peers" not in ruleset([22])
