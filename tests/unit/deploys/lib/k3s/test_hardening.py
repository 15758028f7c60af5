"""What k3s_hardened adds, and that group data wins over it."""

from __future__ import annotations

import json

import kubernetes_validate
import pytest
import yaml

from deploys.lib.k3s import files, hardening, namespaces, node_config


def test_servers_and_agents_get_the_arguments_of_the_guide() -> None:
    server, agent = (hardening.hardened({}, server=each) for each in (True, False))
    assert server["secrets-encryption"] is True
    assert server["protect-kernel-defaults"] is agent["protect-kernel-defaults"] is True
    assert "audit-log-maxage=30" in server["kube-apiserver-arg"]
    assert set(agent) == {"protect-kernel-defaults", "kubelet-arg"}
    assert set(server) <= node_config.OF_SERVERS
    assert set(agent) <= node_config.OF_AGENTS


def test_group_data_wins_also_for_a_single_argument() -> None:
    given = {
        "secrets-encryption": False,
        "kubelet-arg": "pod-max-pids=100",
        "kube-apiserver-arg": ["audit-log-maxage=90"],
    }
    config = hardening.hardened(given, server=True)
    assert config["secrets-encryption"] is False
    assert [each for each in config["kubelet-arg"] if each.startswith("pod-max-pids")] == ["pod-max-pids=100"]
    assert [each for each in config["kube-apiserver-arg"] if "maxage" in each] == ["audit-log-maxage=90"]


@pytest.mark.parametrize(
    ("state", "wanted", "fault"),
    [
        ([], True, ""),  # no cluster yet, or a server that does not answer
        (["encrypted"], True, ""),
        (["clear"], False, ""),
        (["clear"], True, "each server would make a key of its own"),
        (["encrypted"], False, "no server could read them"),
    ],
)
def test_encryption_is_neither_switched_on_nor_off(state: list[str], wanted: bool, fault: str) -> None:
    faults = list(hardening.encryption_faults(state, wanted=wanted))
    assert len(faults) == bool(fault), faults
    assert fault in "".join(faults)


def test_the_files_are_valid_yaml_with_the_plugins_that_the_arguments_name() -> None:
    plugins = yaml.safe_load(hardening.admission_configuration())["plugins"]
    enabled = hardening.SERVER_ARGUMENTS["kube-apiserver-arg"][0].partition("=")[2].split(",")
    assert {each["name"] for each in plugins} == {"PodSecurity", "EventRateLimit"}
    assert "EventRateLimit" in enabled
    assert plugins[0]["configuration"]["defaults"]["enforce"] == "restricted"
    rules = yaml.safe_load(hardening.audit_policy())["rules"]
    assert rules[-1] == {"level": "Metadata"}, "contents of secrets are never logged"
    assert [each["level"] for each in rules if "secrets" in json.dumps(each)] == []


def test_each_namespace_denies_what_its_policies_do_not_allow() -> None:
    given = [{"name": "shop", "egress": ["10.0.8.0/24"]}, {"name": "ci", "security": "privileged"}]
    objects = json.loads(namespaces.namespaces_manifest(given, [], hardened=True))["items"]
    for each in objects:
        kubernetes_validate.validate(each, "1.36", strict=True)
    shop = {each["metadata"]["name"]: each["spec"] for each in objects
            if each["kind"] == "NetworkPolicy" and each["metadata"]["namespace"] == "shop"}  # fmt: skip
    assert list(shop) == ["default-deny", "same-namespace", "dns", "ingress-controller", "egress"]
    assert shop["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert shop["egress"]["egress"] == [{"to": [{"ipBlock": {"cidr": "10.0.8.0/24"}}]}]
    ci = [each["spec"] for each in objects if each["metadata"] == {"name": "egress", "namespace": "ci"}]
    assert ci == [{"podSelector": {}, "policyTypes": ["Egress"], "egress": []}], "removing networks closes them"
    levels = {each["metadata"]["name"]: each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
              for each in objects if each["kind"] == "Namespace"}  # fmt: skip
    assert levels == {"shop": "restricted", "ci": "privileged"}
    tokens = [each for each in objects if each["kind"] == "ServiceAccount"]
    assert {each["metadata"]["namespace"] for each in tokens} == {
        "shop",
        "ci",
        "default",
        "kube-node-lease",
        "kube-public",
    }
    assert not any(each["automountServiceAccountToken"] for each in tokens)


def test_only_a_hardened_cluster_has_policies_for_the_namespaces_of_kubernetes() -> None:
    assert "kube-system" not in namespaces.namespaces_manifest([], [], hardened=False)
    assert "kube-system" in namespaces.namespaces_manifest([], [], hardened=True)


def test_kernel_settings_are_those_that_the_kubelet_demands() -> None:
    text = files.sysctl_settings(hardening.KERNEL_SETTINGS, ipv6=False)
    assert "vm.overcommit_memory = 1\n" in text
    assert "ipv6" not in text


def test_an_unknown_security_level_is_a_fault() -> None:
    given = {"k3s_version": "v1.36.4+k3s1", "k3s_namespaces": [{"name": "ada", "security": "none"}]}
    [fault] = files.faults(given, 1)
    assert fault == "k3s_namespaces: security is 'none'; use one of restricted, baseline, privileged"
