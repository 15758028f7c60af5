"""The configuration files of a K3s cluster, and the faults in its group data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploys.lib.k3s import files
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
    assert files.node_config(CLUSTER, SERVER, founds=True) == {**of_servers, "cluster-init": True}
    assert files.node_config(CLUSTER, SERVER, founds=False) == {**of_servers, "server": "https://10.0.0.1:6443"}
    assert files.node_config(CLUSTER, AGENT, founds=False) == {
        "token": "t0ken",
        "node-name": "two",
        "node-label": ["a=b"],
        "node-taint": ["x=y:NoSchedule"],
        "server": "https://10.0.0.1:6443",
    }
    assert "t0ken" not in repr(CLUSTER)


def test_the_configuration_is_yaml_with_one_line_per_key() -> None:
    config = files.node_config(CLUSTER, AGENT, founds=False)
    assert yaml.safe_load(files.config_yaml(config)) == config
    assert len(files.config_yaml(config).splitlines()) == 1 + len(config)


def test_snapshots_go_to_s3_if_there_is_a_bucket() -> None:
    assert files.snapshot_settings({}, "", "") == {}
    s3 = {"bucket": "acme", "region": "eu-central-1", "access_key": {"env": "A"}, "secret_key": {"env": "B"}}
    assert files.snapshot_settings({"schedule": "0 0 * * *", "keep": 7, "s3": s3}, "key", "s3cret") == {
        "etcd-snapshot-schedule-cron": "0 0 * * *",
        "etcd-snapshot-retention": 7,
        "etcd-s3": True,
        "etcd-s3-access-key": "key",
        "etcd-s3-secret-key": "s3cret",
        "etcd-s3-bucket": "acme",
        "etcd-s3-region": "eu-central-1",
    }


def test_namespaces_match_the_schemas_of_kubernetes() -> None:
    manifest = files.namespaces_manifest([{"name": "ada", "cpu": 2}, {"name": "bob", "users": ["bob@x"]}])
    objects = list(yaml.safe_load_all(manifest))
    assert [each["kind"] for each in objects] == ["Namespace", "ResourceQuota", "LimitRange", "RoleBinding"] * 2
    for each in objects:
        kubernetes_validate.validate(each, "1.33", strict=True)
    assert objects[1]["spec"]["hard"]["limits.cpu"] == "2"
    assert objects[7]["subjects"][0]["name"] == "bob@x"
    assert list(yaml.safe_load_all(files.namespaces_manifest([]))) in ([], [None])


def test_a_kubeconfig_gets_the_clusters_name_and_address() -> None:
    default = [
        {"name": "default", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Y2E="}}
    ]
    fetched = {"clusters": default, "users": [{"name": "default", "user": {"token": "x"}}]}
    ours = files.named_kubeconfig(yaml.safe_dump(fetched), "staging", "https://10.0.0.1:6443")
    assert ours["clusters"] == [
        {"name": "staging", "cluster": {"server": "https://10.0.0.1:6443", "certificate-authority-data": "Y2E="}}
    ]
    assert ours["contexts"] == [{"name": "staging", "context": {"cluster": "staging", "user": "staging"}}]
    current = {
        "clusters": [{"name": "other"}, {"name": "staging", "cluster": {}}],
        "users": None,
        "current-context": "other",
    }
    merged = files.merge_kubeconfig(current, ours)
    assert [cluster["name"] for cluster in merged["clusters"]] == ["other", "staging"]
    assert merged["clusters"][1] == ours["clusters"][0]
    assert merged["current-context"] == "other"
    assert files.merge_kubeconfig({}, ours) == ours


def node(
    ready: str = "True", version: str = "v1.33.5+k3s1", taints: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {"spec": {"taints": taints}, "status": {"conditions": conditions, "nodeInfo": {"kubeletVersion": version}}}


def test_a_node_must_be_ready_and_run_the_version() -> None:
    assert files.is_ready_at(node(), "v1.33.5+k3s1")
    assert not files.is_ready_at(node(ready="Unknown"), "v1.33.5+k3s1")
    assert not files.is_ready_at(node(version="v1.32.1+k3s1"), "v1.33.5+k3s1")
    assert not files.is_ready_at(None, "v1.33.5+k3s1")


def test_only_taints_of_earlier_runs_are_removed() -> None:
    current = node(
        taints=[{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "theirs", "effect": "NoExecute"}]
    )
    assert files.taint_changes(["a=b:NoSchedule"], current, ["a=b:NoSchedule"]) == []
    assert files.taint_changes(["c:NoSchedule"], current, ["a=b:NoSchedule"]) == ["c:NoSchedule", "a=b:NoSchedule-"]
    assert files.taint_changes([], {}, []) == []
    assert files.taint_changes(["a=c:NoSchedule"], current, ["a=b:NoSchedule"]) == ["a=c:NoSchedule"], "it is replaced"
    assert files.taint_changes(["a:NoExecute"], current, ["a=b:NoSchedule"]) == ["a:NoExecute", "a=b:NoSchedule-"]


def test_only_labels_of_earlier_runs_are_removed() -> None:
    current = {"metadata": {"labels": {"disk": "ssd", "use": "db", "theirs": "x"}}}
    assert files.label_changes(["disk=ssd", "use=db"], current, ["disk=ssd"]) == []
    assert files.label_changes(["use=web", "new="], current, ["disk=ssd", "gone=1"]) == ["use=web", "new=", "disk-"]
    assert files.label_changes([], {}, ["disk=ssd"]) == []


def test_names_of_the_certificate_are_added_to_the_addresses_of_servers() -> None:
    config = files.node_config(replace(CLUSTER, config={"tls-san": ["k3s.acme.example"]}), SERVER, founds=True)
    assert config["tls-san"] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "k3s.acme.example"]


@pytest.mark.parametrize(
    ("current", "token", "source", "expected"),
    [
        ("", "t0ken", "k3s_token", ""),
        ("K10abc::server:t0ken\n", "t0ken", "k3s_token", ""),
        ("K10abc::server:t0ken", "K10abc::server:t0ken", "k3s_token", ""),
        ("K10abc::server:t0ken", "other", "k3s_token", "differs from the one in k3s_token"),
        ("K10abc::server:t0ken", "other", "", "is not on your machine; set k3s_token to"),
    ],
)
def test_a_token_that_differs_from_the_clusters_is_a_fault(
    current: str, token: str, source: str, expected: str
) -> None:
    faults = list(files.token_faults("one", current, token, source))
    assert len(faults) == bool(expected), faults
    for fault in faults:
        assert expected in fault
        assert "t0ken" not in fault.replace("server/token", "")


def test_deleting_a_namespace_needs_confirmation() -> None:
    current = files.namespaces_manifest([{"name": "ada"}, {"name": "bob"}])
    assert not list(files.namespace_faults(current, [{"name": "ada"}, {"name": "bob"}, {"name": "eve"}], ""))
    [fault] = files.namespace_faults(current, [], "ada")
    assert fault == (
        "k3s_namespaces: bob is no longer listed, so K3s would delete it with all in it; "
        "list it again, or confirm with --data k3s_drop_namespaces=ada,bob"
    )
    assert not list(files.namespace_faults(current, [], "ada,bob"))
    assert not list(files.namespace_faults("", [], ""))


def test_copies_of_one_machine_are_a_fault() -> None:
    assert not list(files.identity_faults({"10.0.0.1": ["one", "a1"], "10.0.0.2": ["two", "b2"]}))
    faults = list(files.identity_faults({"10.0.0.1": ["debian", "a1"], "10.0.0.2": ["debian", "a1"]}))
    assert faults == [
        "10.0.0.1, 10.0.0.2 have the same hostname, debian; give each its own",
        "10.0.0.1, 10.0.0.2 have the same machine-id, a1; give each its own",
    ]


@pytest.mark.parametrize(
    ("given", "servers", "expected"),
    [
        ({}, 1, []),
        ({"k3s_version": "1.33"}, 1, ["is not a release; use one such as"]),
        ({}, 2, ["2 servers tolerate no more failures than 1; use 1, 3 or 5"]),
        (
            {"k3s_namespaces": [{"name": "x", "disk": 1}], "k3s_snapshots": {"every": 1}},
            3,
            ["no such key: disk", "no such key: every"],
        ),
        ({"k3s_token": "abc", "k3s_namespaces": [{"cpu": 2}]}, 1, ['k3s_token: write {"env"', "has no name"]),
    ],
)
def test_each_mistake_in_group_data_is_a_fault(given: dict[str, Any], servers: int, expected: list[str]) -> None:
    faults = list(files.faults({"k3s_version": "v1.33.5+k3s1", **given}, servers))
    assert len(faults) == len(expected), faults
    assert all(part in fault for part, fault in zip(expected, faults, strict=True)), faults


KEYS = {"access_key": {"env": "A"}, "secret_key": {"env": "B"}}


def test_keys_of_a_bucket_and_suffixes_of_images_are_checked() -> None:
    given = {
        "k3s_version": "v1.33.5+k3s1",
        "k3s_airgap": "zip",
        "k3s_snapshots": {"s3": {**KEYS, "bucket": "x", "pass": "y"}},
    }
    assert list(files.faults(given, 1)) == [
        "k3s_snapshots: s3: no such key: pass; allowed: access_key, bucket, endpoint, folder, insecure, region, "
        "secret_key",
        "k3s_airgap: 'zip' is invalid; use True for tar.zst, or one of tar.zst, tar.gz, tar",
    ]
    assert not list(files.faults({"k3s_version": "v1.33.5+k3s1", "k3s_airgap": True}, 1))
    keyless = {"k3s_version": "v1.33.5+k3s1", "k3s_snapshots": {"s3": {"bucket": "x"}}}
    assert [fault.partition(": write")[0] for fault in files.faults(keyless, 1)] == [
        "k3s_snapshots: s3: access_key",
        "k3s_snapshots: s3: secret_key",
    ]
