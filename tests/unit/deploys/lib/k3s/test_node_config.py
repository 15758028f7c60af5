"""config.yaml of each node, and the faults in the settings that it comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from deploys.lib.k3s import node_config as k3s_config
from deploys.lib.k3s.files import Node
from deploys.lib.k3s.node_config import Cluster, api_url, config_faults, interface_of, node_config

CLUSTER = Cluster(
    "v1.36.4+k3s1", ("10.0.0.1", "10.0.0.2", "10.0.0.3"), "t0ken", "of-agents", config={"disable": ["traefik"]}
)
SERVER, AGENT = Node("one", server=True), Node("two", server=False, labels=("a=b",), taints=("x=y:NoSchedule",))


def test_the_first_server_founds_the_cluster_and_others_join_it() -> None:
    of_servers = {
        "token": "t0ken",
        "agent-token": "of-agents",
        "node-name": "one",
        "tls-san": ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
        "write-kubeconfig-mode": "0600",
        "disable": ["traefik"],
    }
    assert node_config(CLUSTER, SERVER, creates_cluster=True) == {**of_servers, "cluster-init": True}
    assert node_config(CLUSTER, SERVER, creates_cluster=False) == {**of_servers, "server": "https://10.0.0.1:6443"}
    assert "t0ken" not in repr(CLUSTER)
    assert "of-agents" not in repr(CLUSTER)


def test_an_agent_has_no_token_of_servers_and_no_labels_that_the_kubelet_refuses() -> None:
    assert node_config(CLUSTER, AGENT, creates_cluster=False) == {
        "token": "of-agents",
        "node-name": "two",
        "node-taint": ["x=y:NoSchedule"],
        "server": "https://10.0.0.1:6443",
    }


def test_the_token_of_agents_does_not_depend_on_the_form_of_the_token() -> None:
    derived = k3s_config.derived_agent_token("t0ken")
    assert derived == k3s_config.derived_agent_token("K10abc::server:t0ken\n")
    assert (len(derived), derived == k3s_config.derived_agent_token("other")) == (64, False)


def test_people_and_joining_nodes_have_their_own_entrances() -> None:
    cluster = replace(CLUSTER, endpoint="k3s.acme.example:443", registration="10.0.0.9")
    assert (cluster.url, cluster.join_url) == ("https://k3s.acme.example:443", "https://10.0.0.9:6443")
    config = node_config(replace(cluster, config={"tls-san": ["vip.acme.example"]}), SERVER, creates_cluster=True)
    assert config["tls-san"] == [*CLUSTER.addresses, "k3s.acme.example", "10.0.0.9", "vip.acme.example"]
    assert node_config(cluster, AGENT, creates_cluster=False)["server"] == "https://10.0.0.9:6443"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.0.0.1", "https://10.0.0.1:6443"),
        ("k3s.acme.example", "https://k3s.acme.example:6443"),
        ("k3s.acme.example:443", "https://k3s.acme.example:443"),
        ("fd00::1", "https://[fd00::1]:6443"),
        ("[fd00::1]:443", "https://[fd00::1]:443"),
    ],
)
def test_an_address_can_have_a_port(address: str, url: str) -> None:
    assert api_url(address) == url


ADDRESSES = [
    "1: lo    inet 127.0.0.1/8 scope host lo",
    "2: eth0    inet 203.0.113.5/24 brd 203.0.113.255 scope global eth0",
    "3: ens7    inet 10.0.0.5/16 scope global ens7",
    "3: ens7    inet6 fd00::5/64 scope global",
    "odd",
]


@pytest.mark.parametrize(
    ("address", "interface"), [("10.0.0.5", "ens7"), ("fd00::5", "ens7"), ("10.0.0.50", ""), ("", ""), ("name", "")]
)
def test_the_interface_of_an_address_is_found(address: str, interface: str) -> None:
    assert interface_of(address, ADDRESSES) == interface


def test_a_node_uses_the_interface_of_its_address_and_its_own_settings_win() -> None:
    private = replace(AGENT, address="10.0.0.5", interface="ens7")
    cluster = replace(CLUSTER, agent_config={"kubelet-arg": ["max-pods=50"], "selinux": True})
    config = node_config(cluster, private, creates_cluster=False)
    assert (config["node-ip"], config["flannel-iface"]) == ("10.0.0.5", "ens7")
    assert config["kubelet-arg"] == ["max-pods=50"]
    own = replace(private, config={"node-ip": ["10.0.0.5", "fd00::5"], "selinux": False})
    config = node_config(cluster, own, creates_cluster=False)
    assert (config["node-ip"], config["selinux"]) == (["10.0.0.5", "fd00::5"], False)


@pytest.mark.parametrize(
    ("config", "ipv6"),
    [
        ({}, False),
        ({"cluster-cidr": "10.42.0.0/16", "node-ip": ["10.0.0.1"]}, False),
        ({"cluster-cidr": "10.42.0.0/16,fd42::/56"}, True),
        ({"node-ip": ["10.0.0.1", "fd00::1"]}, True),
    ],
)
def test_ipv6_is_in_use_if_an_address_is_one(config: dict[str, Any], ipv6: bool) -> None:
    assert k3s_config.uses_ipv6(config) is ipv6


def test_the_configuration_is_yaml_with_one_line_per_key() -> None:
    config = node_config(CLUSTER, AGENT, creates_cluster=False)
    assert yaml.safe_load(k3s_config.config_yaml(config)) == config
    assert len(k3s_config.config_yaml(config).splitlines()) == 1 + len(config)


def test_snapshots_in_s3_are_counted_over_all_servers() -> None:
    assert k3s_config.snapshot_settings({}, "", "", 3) == {}
    s3 = {"bucket": "acme", "region": "eu-central-1", "access_key": {"env": "A"}, "secret_key": {"env": "B"}}
    assert k3s_config.snapshot_settings({"schedule": "0 0 * * *", "keep": 7, "s3": s3}, "key", "s3cret", 3) == {
        "etcd-snapshot-schedule-cron": "0 0 * * *",
        "etcd-snapshot-retention": 7,
        "etcd-s3": True,
        "etcd-s3-access-key": "key",
        "etcd-s3-secret-key": "s3cret",
        "etcd-s3-bucket": "acme",
        "etcd-s3-region": "eu-central-1",
        "etcd-s3-retention": 21,
    }


def test_without_keys_k3s_uses_the_role_of_its_host() -> None:
    settings = k3s_config.snapshot_settings({"s3": {"bucket": "acme"}}, "", "", 1)
    assert settings == {"etcd-s3": True, "etcd-s3-bucket": "acme"}


def test_every_key_that_a_deploy_writes_is_a_flag_of_k3s() -> None:
    node = replace(AGENT, address="10.0.0.5", interface="ens7")
    snapshots = k3s_config.snapshot_settings(
        {"schedule": "x", "keep": 1, "s3": dict.fromkeys(("endpoint", "bucket", "folder", "region", "insecure"), "x")},
        *("key", "secret", 3),
    )
    servers = replace(CLUSTER, snapshots=snapshots)
    for creates in (True, False):
        assert node_config(servers, replace(node, server=True), creates_cluster=creates).keys() <= k3s_config.OF_SERVERS
    assert node_config(servers, node, creates_cluster=False).keys() <= k3s_config.OF_AGENTS
    assert k3s_config.SAME_ON_ALL_SERVERS <= k3s_config.OF_SERVERS


@pytest.mark.parametrize(
    ("given", "hosts", "expected"),
    [
        ({"k3s_config": {"disable": ["traefik"]}, "k3s_agent_config": {"kubelet-arg": []}}, {}, []),
        (
            {"k3s_config": {"flannel-backnd": "host-gw"}},
            {},
            ["has no flag flannel-backnd; did you mean flannel-backend?"],
        ),
        ({"k3s_config": {"data-dir": "/data"}}, {}, ["k3s_config: data-dir is not allowed: all deploys expect"]),
        ({"k3s_config": {"node-label": ["a=b"]}}, {}, ["node-label is not allowed: set k3s_labels"]),
        ({"k3s_config": {"agent-token": "x"}}, {}, ["agent-token is not allowed: set k3s_agent_token"]),
        ({"k3s_agent_config": {"tls-san": ["x"]}}, {}, ["k3s_agent_config: tls-san is a flag of servers only"]),
        ({}, {"one": {"k3s_host_config": {"flannel-iface": "ens7", "tls-san": ["x"]}}}, []),
        (
            {},
            {"one": {"k3s_host_config": {"cluster-cidr": "x", "disable": ["servicelb"]}}},
            ["cluster-cidr must be the same on all servers; set it in k3s_config", "disable must be the same"],
        ),
        ({}, {"two": {"k3s_host_config": {"cluster-cidr": "x"}}}, ["two: k3s_host_config: cluster-cidr is a flag of"]),
        ({}, {"two": {"k3s_config": {"debug": True}}}, ["two: k3s_config is read from the first server only"]),
        ({"k3s_endpoint": "https://k3s.acme.example"}, {}, ["k3s_endpoint: https://k3s.acme.example is not a name or"]),
        ({"k3s_registration": "k3s:https"}, {}, ["k3s_registration: k3s:https is not a name or an address"]),
        ({"k3s_endpoint": "10.0.0.9:443", "k3s_registration": "fd00::9"}, {}, []),
    ],
)
def test_each_mistake_in_a_configuration_is_a_fault(
    given: dict[str, Any], hosts: dict[str, dict[str, Any]], expected: list[str]
) -> None:
    faults = list(config_faults(given, hosts, ["one"]))
    assert len(faults) == len(expected), faults
    assert all(part in fault for part, fault in zip(expected, faults, strict=True)), faults
