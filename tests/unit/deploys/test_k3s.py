"""What the files of a K3s cluster say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploys.lib.k3s import files
from deploys.lib.k3s.artefacts import checksum_holds
from deploys.lib.k3s.files import Cluster, Node

CLUSTER = Cluster("v1.33.5+k3s1", ("10.0.0.1", "10.0.0.2", "10.0.0.3"), "t0ken", config={"disable": ["traefik"]})
SERVER, AGENT = Node("one", server=True), Node("two", server=False, labels=("a=b",), taints=("x=y:NoSchedule",))


def test_the_first_server_founds_the_cluster_and_others_join_it() -> None:
    of_servers = {
        "token": "t0ken",
        "node-name": "one",
        "tls-san": ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
        "write-kubeconfig-mode": "0600",
        "disable": ["traefik"],
    }
    assert files.config(CLUSTER, SERVER, founds=True) == {**of_servers, "cluster-init": True}
    assert files.config(CLUSTER, SERVER, founds=False) == {**of_servers, "server": "https://10.0.0.1:6443"}
    assert files.config(CLUSTER, AGENT, founds=False) == {
        "token": "t0ken",
        "node-name": "two",
        "node-label": ["a=b"],
        "node-taint": ["x=y:NoSchedule"],
        "server": "https://10.0.0.1:6443",
    }
    assert "t0ken" not in repr(CLUSTER)


def test_the_configuration_is_yaml_with_a_line_for_each_key() -> None:
    told = files.config(CLUSTER, AGENT, founds=False)
    assert yaml.safe_load(files.as_yaml(told)) == told
    assert len(files.as_yaml(told).splitlines()) == 1 + len(told)


def test_snapshots_go_to_s3_where_there_is_a_bucket() -> None:
    assert files.snapshots({}, "", "") == {}
    s3 = {"bucket": "acme", "region": "eu-central-1", "access_key": {"env": "A"}, "secret_key": {"env": "B"}}
    assert files.snapshots({"schedule": "0 0 * * *", "keep": 7, "s3": s3}, "key", "s3cret") == {
        "etcd-snapshot-schedule-cron": "0 0 * * *",
        "etcd-snapshot-retention": 7,
        "etcd-s3": True,
        "etcd-s3-access-key": "key",
        "etcd-s3-secret-key": "s3cret",
        "etcd-s3-bucket": "acme",
        "etcd-s3-region": "eu-central-1",
    }


def test_namespaces_are_right_by_the_schemas_of_kubernetes() -> None:
    told = list(yaml.safe_load_all(files.manifest([{"name": "ada", "cpu": 2}, {"name": "bob", "users": ["bob@x"]}])))
    assert [each["kind"] for each in told] == ["Namespace", "ResourceQuota", "LimitRange", "RoleBinding"] * 2
    for each in told:
        kubernetes_validate.validate(each, "1.33", strict=True)
    assert told[1]["spec"]["hard"]["limits.cpu"] == "2"
    assert told[7]["subjects"][0]["name"] == "bob@x"
    assert list(yaml.safe_load_all(files.manifest([]))) in ([], [None])


def test_a_kubeconfig_gets_names_and_an_address_of_its_own() -> None:
    default = [
        {"name": "default", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Y2E="}}
    ]
    fetched = {"clusters": default, "users": [{"name": "default", "user": {"token": "x"}}]}
    told = files.kubeconfig(yaml.safe_dump(fetched), "staging", "https://10.0.0.1:6443")
    assert told["clusters"] == [
        {"name": "staging", "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority-data": "Y2E="}}
    ]
    assert told["contexts"] == [{"name": "staging", "context": {"cluster": "staging", "user": "staging"}}]
    there = {
        "clusters": [{"name": "other"}, {"name": "staging", "cluster": {}}],
        "users": None,
        "current-context": "other",
    }
    both = files.merged(there, told)
    assert [one["name"] for one in both["clusters"]] == ["other", "staging"]
    assert both["clusters"][1] == told["clusters"][0]
    assert both["current-context"] == "other"
    assert files.merged({}, told) == told


def node(
    ready: str = "True", version: str = "v1.33.5+k3s1", taints: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {"spec": {"taints": taints}, "status": {"conditions": conditions, "nodeInfo": {"kubeletVersion": version}}}


def test_a_node_is_up_when_it_is_ready_at_the_version() -> None:
    assert files.is_up(node(), "v1.33.5+k3s1")
    assert not files.is_up(node(ready="Unknown"), "v1.33.5+k3s1")
    assert not files.is_up(node(version="v1.32.1+k3s1"), "v1.33.5+k3s1")
    assert not files.is_up(None, "v1.33.5+k3s1")


def test_only_taints_that_we_gave_are_taken() -> None:
    there = node(taints=[{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "theirs", "effect": "NoExecute"}])
    assert files.taint_changes(["a=b:NoSchedule"], there, ["a=b:NoSchedule"]) == []
    assert files.taint_changes(["c:NoSchedule"], there, ["a=b:NoSchedule"]) == ["c:NoSchedule", "a=b:NoSchedule-"]
    assert files.taint_changes([], {}, []) == []
    assert files.taint_changes(["a=c:NoSchedule"], there, ["a=b:NoSchedule"]) == ["a=c:NoSchedule"], "it is replaced"
    assert files.taint_changes(["a:NoExecute"], there, ["a=b:NoSchedule"]) == ["a:NoExecute", "a=b:NoSchedule-"]


def test_only_labels_that_we_gave_are_taken() -> None:
    there = {"metadata": {"labels": {"disk": "ssd", "use": "db", "theirs": "x"}}}
    assert files.label_changes(["disk=ssd", "use=db"], there, ["disk=ssd"]) == []
    assert files.label_changes(["use=web", "new="], there, ["disk=ssd", "gone=1"]) == ["use=web", "new=", "disk-"]
    assert files.label_changes([], {}, ["disk=ssd"]) == []


def test_names_of_the_certificate_are_added_to_those_that_nodes_use() -> None:
    told = files.config(replace(CLUSTER, config={"tls-san": ["k3s.acme.example"]}), SERVER, founds=True)
    assert told["tls-san"] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "k3s.acme.example"]


@pytest.mark.parametrize(
    ("there", "token", "named", "said"),
    [
        ("", "t0ken", "k3s_token", ""),
        ("K10abc::server:t0ken\n", "t0ken", "k3s_token", ""),
        ("K10abc::server:t0ken", "K10abc::server:t0ken", "k3s_token", ""),
        ("K10abc::server:t0ken", "other", "k3s_token", "is not the one in k3s_token"),
        ("K10abc::server:t0ken", "other", "", "is not known to this machine; write it into k3s_token"),
    ],
)
def test_another_token_than_the_clusters_is_a_fault(there: str, token: str, named: str, said: str) -> None:
    told = list(files.faults_of_token("one", there, token, named))
    assert len(told) == bool(said)
    assert all(said in fault and "t0ken" not in fault.replace("server/token", "") for fault in told)


def test_a_namespace_that_would_be_deleted_has_to_be_named() -> None:
    there = files.manifest([{"name": "ada"}, {"name": "bob"}])
    assert not list(files.faults_of_namespaces(there, [{"name": "ada"}, {"name": "bob"}, {"name": "eve"}], ""))
    [told] = files.faults_of_namespaces(there, [], "ada")
    assert told == (
        "k3s_namespaces: bob: no longer named, and so deleted with everything in it; "
        "name it again, or say so: --data k3s_drop_namespaces=ada,bob"
    )
    assert not list(files.faults_of_namespaces(there, [], "ada,bob"))
    assert not list(files.faults_of_namespaces("", [], ""))


def test_copies_of_a_machine_are_told_apart_before_k3s_mixes_them_up() -> None:
    assert not list(files.faults_of_hosts({"10.0.0.1": ["one", "a1"], "10.0.0.2": ["two", "b2"]}))
    told = list(files.faults_of_hosts({"10.0.0.1": ["debian", "a1"], "10.0.0.2": ["debian", "a1"]}))
    assert told == [
        "10.0.0.1, 10.0.0.2: have the same hostname, debian; each node needs its own",
        "10.0.0.1, 10.0.0.2: have the same machine-id, a1; each node needs its own",
    ]


@pytest.mark.parametrize(
    ("given", "servers", "said"),
    [
        ({}, 1, []),
        ({"k3s_version": "1.33"}, 1, ["write a release"]),
        ({}, 2, ["2 servers can't lose one more than 1 can; have 1, 3 or 5"]),
        (
            {"k3s_namespaces": [{"name": "x", "disk": 1}], "k3s_snapshots": {"every": 1}},
            3,
            ["disk: no such", "every: no such"],
        ),
        ({"k3s_token": "abc", "k3s_namespaces": [{"cpu": 2}]}, 1, ['k3s_token: write {"env"', "has no name"]),
    ],
)
def test_a_slip_of_the_pen_is_told(given: dict[str, Any], servers: int, said: list[str]) -> None:
    told = list(files.faults({"k3s_version": "v1.33.5+k3s1", **given}, servers))
    assert len(told) == len(said)
    assert all(part in fault for part, fault in zip(said, told, strict=True))


def test_the_checksum_is_that_of_the_binary_alone() -> None:
    assert checksum_holds("k3s-arm64", "/tmp/x").startswith('awk \'$2 == "k3s-arm64"')


KEYS = {"access_key": {"env": "A"}, "secret_key": {"env": "B"}}


def test_keys_of_a_bucket_and_endings_of_images_are_checked() -> None:
    given = {
        "k3s_version": "v1.33.5+k3s1",
        "k3s_airgap": "zip",
        "k3s_snapshots": {"s3": {**KEYS, "bucket": "x", "pass": "y"}},
    }
    told = list(files.faults(given, 1))
    assert told == [
        "k3s_snapshots: s3: pass: no such key; there are endpoint, bucket, folder, region, insecure, access_key, "
        "secret_key",
        "k3s_airgap: 'zip'; write True, which is tar.zst, or one of tar.zst, tar.gz, tar",
    ]
    assert not list(files.faults({"k3s_version": "v1.33.5+k3s1", "k3s_airgap": True}, 1))
    keyless = {"k3s_version": "v1.33.5+k3s1", "k3s_snapshots": {"s3": {"bucket": "x"}}}
    assert [fault.partition(": write")[0] for fault in files.faults(keyless, 1)] == [
        "k3s_snapshots: s3: access_key",
        "k3s_snapshots: s3: secret_key",
    ]
