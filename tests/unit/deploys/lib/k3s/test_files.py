"""The configuration files of a K3s cluster, and the faults in its group data."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from deploys.lib.k3s import files


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
    ready: str = "True", version: str = "v1.36.4+k3s1", taints: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {"spec": {"taints": taints}, "status": {"conditions": conditions, "nodeInfo": {"kubeletVersion": version}}}


def test_a_node_must_be_ready_and_run_the_version() -> None:
    assert files.is_ready_at(node(), "v1.36.4+k3s1")
    assert not files.is_ready_at(node(ready="Unknown"), "v1.36.4+k3s1")
    assert not files.is_ready_at(node(version="v1.35.6+k3s1"), "v1.36.4+k3s1")
    assert not files.is_ready_at(None, "v1.36.4+k3s1")


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


@pytest.mark.parametrize(
    ("tokens", "token", "source", "expected"),
    [
        ([], "t0ken", "k3s_token", ""),
        (["", ""], "t0ken", "k3s_token", ""),
        (["K10abc::server:t0ken\n"], "t0ken", "k3s_token", ""),
        (["K10abc::server:t0ken"], "K10abc::server:t0ken", "k3s_token", ""),
        (["K10abc::server:old", "K10abc::server:t0ken"], "t0ken", "k3s_token", ""),
        (["", "K10abc::server:t0ken"], "other", "k3s_token", "differs from the one in k3s_token"),
        (["K10abc::server:t0ken"], "other", "", "is not on your machine; set k3s_token to"),
    ],
)
def test_a_token_that_no_server_of_the_cluster_has_is_a_fault(
    tokens: list[str], token: str, source: str, expected: str
) -> None:
    faults = list(files.token_faults("one", tokens, token, source))
    assert len(faults) == bool(expected), faults
    for fault in faults:
        assert expected in fault
        assert "t0ken" not in fault.replace("server/token", "")


@pytest.mark.parametrize(
    ("current", "faults"),
    [("", 0), ("K10abc::node:t0ken\n", 0), ("K10abc::node:0ther", 1), ("K10abc::server:0ther", 1)],
)
def test_another_token_of_agents_is_a_fault(current: str, faults: int) -> None:
    found = list(files.agent_token_faults("one", current, "t0ken"))
    assert len(found) == faults
    assert "0ther" not in "".join(found)


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
        ({"k3s_environment": {"A": "x", "B": {"env": "P"}, "C": {"x": 1}}}, 1, ['k3s_environment: C: write {"env"']),
        ({"k3s_drain": "5m"}, 1, ["k3s_drain: '5m' is invalid; use seconds, or 0 for no drain"]),
        ({"k3s_token": "abc", "k3s_namespaces": [{"cpu": 2}]}, 1, ['k3s_token: write {"env"', "has no name"]),
    ],
)
def test_each_mistake_in_group_data_is_a_fault(given: dict[str, Any], servers: int, expected: list[str]) -> None:
    faults = list(files.faults({"k3s_version": "v1.36.4+k3s1", **given}, servers))
    assert len(faults) == len(expected), faults
    assert all(part in fault for part, fault in zip(expected, faults, strict=True)), faults


KEYS = {"access_key": {"env": "A"}, "secret_key": {"env": "B"}}


def test_keys_of_a_bucket_and_suffixes_of_images_are_checked() -> None:
    given = {
        "k3s_version": "v1.36.4+k3s1",
        "k3s_airgap": "zip",
        "k3s_snapshots": {"s3": {**KEYS, "bucket": "x", "pass": "y"}},
    }
    assert list(files.faults(given, 1)) == [
        "k3s_snapshots: s3: no such key: pass; allowed: access_key, bucket, endpoint, folder, insecure, region, "
        "secret_key",
        "k3s_airgap: 'zip' is invalid; use True for tar.zst, or one of tar.zst, tar.gz, tar",
    ]
    assert not list(files.faults({"k3s_version": "v1.36.4+k3s1", "k3s_airgap": True}, 1))
    keyless = {"k3s_version": "v1.36.4+k3s1", "k3s_snapshots": {"s3": {"bucket": "x"}}}
    assert not list(files.faults(keyless, 1)), "the servers can have a role instead"
    half = {"k3s_version": "v1.36.4+k3s1", "k3s_snapshots": {"s3": {"bucket": "x", "access_key": {"env": "A"}}}}
    assert [fault.partition(": write")[0] for fault in files.faults(half, 1)] == ["k3s_snapshots: s3: secret_key"]


def test_ipv6_forwarding_is_on_only_with_ipv6() -> None:
    assert "ipv6" not in files.sysctl_settings({}, ipv6=False)
    assert "net.ipv6.conf.all.forwarding = 1" in files.sysctl_settings({}, ipv6=True)


def test_nodes_are_not_reached_through_a_proxy() -> None:
    text = files.unit_environment({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.1,.acme"}, ["10.0.0.1", "b"])
    assert text.splitlines()[1:] == ["HTTPS_PROXY='http://proxy:3128'", "NO_PROXY='10.0.0.1,.acme,b'"]
    assert files.unit_environment({"K3S_X": "1"}, ["10.0.0.1"]).splitlines()[1:] == ["K3S_X='1'"]


def test_a_variable_cannot_end_its_quotes() -> None:
    assert list(files.environment_faults({"HTTPS_PROXY": "http://proxy:3128/?a=b"})) == []
    faults = list(files.environment_faults({"A B": "x", "A": "a'b", "C": "a\\", "D": "a\nb"}))
    assert [fault.split(" is ")[0] for fault in faults] == [
        f"k3s_environment: {name}" for name in ("A B", "A", "C", "D")
    ]
    assert "a'b" not in "".join(faults)
