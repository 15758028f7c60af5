"""Namespaces of developers: each has a quota, default limits and a role. They are applied through the API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.context import ctx_state

from deploys.lib.facts import HostFacts, operation_with_facts, paths
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import hardening
from deploys.lib.k3s.artefacts import installed_version
from deploys.lib.k3s.cluster import ANSWER_TIMEOUT, StepFailed
from deploys.lib.k3s.files import DATA
from deploys.lib.messages import log_message, report_failure
from deploys.lib.operations import Steps

# Earlier releases wrote this file. At its start, each server applies it and deletes what an older copy lacks.
OLD_MANIFEST = f"{DATA}/server/manifests/groundcrew-namespaces.yaml"
RBAC = "rbac.authorization.k8s.io"
NETWORKING = "networking.k8s.io/v1"
MANAGED = "app.kubernetes.io/managed-by=groundcrew"
SERVER_SIDE = ("--server-side", "--force-conflicts", "--field-manager=groundcrew")
DELETE_TIMEOUT = 120  # seconds for a namespace and everything in it


KubernetesObject: TypeAlias = tuple[str, str, str, dict[str, Any], dict[str, Any]]
"""API version, kind, name, the rest of the metadata, and all other keys."""


def namespace_objects(
    given: Sequence[Mapping[str, Any]], admins: Sequence[str], *, hardened: bool
) -> list[dict[str, Any]]:
    """Return the objects of each namespace: quota, default limits of containers, and roles for its users and viewers.

    In a hardened cluster, all namespaces have network policies, and their default service accounts have no token.
    Nothing is pruned. So a binding without people, and a policy without networks, take the place of one with some.
    """
    objects = [each for namespace in given for each in _objects_of(namespace, hardened=hardened)]
    objects.append((f"{RBAC}/v1", "ClusterRoleBinding", "groundcrew-admins", {}, _binding("cluster-admin", admins)))
    if hardened:
        objects += _system_objects()
    return [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name} | metadata, **rest}
        for version, kind, name, metadata, rest in objects
    ]


def _system_objects() -> Iterator[KubernetesObject]:
    policies = list(hardening.system_policies())
    for namespace, name, spec in policies:
        yield NETWORKING, "NetworkPolicy", name, {"namespace": namespace}, {"spec": spec}
    for namespace in sorted({each for each, _, _ in policies} - set(hardening.EXEMPT_NAMESPACES)):
        yield "v1", "ServiceAccount", "default", {"namespace": namespace}, {"automountServiceAccountToken": False}


def _objects_of(given: Mapping[str, Any], *, hardened: bool) -> Iterator[KubernetesObject]:
    name, cpu, memory = given["name"], str(given.get("cpu", "4")), str(given.get("memory", "16Gi"))
    namespaced = {"namespace": name}
    labels = {"app.kubernetes.io/managed-by": "groundcrew"}
    labels |= hardening.namespace_security(given) if hardened else {}
    yield "v1", "Namespace", name, {"labels": labels}, {}
    hard = {"requests.cpu": cpu, "limits.cpu": cpu, "requests.memory": memory, "limits.memory": memory, "pods": "100"}
    yield "v1", "ResourceQuota", "developer", namespaced, {"spec": {"hard": hard}}
    defaults = {
        "type": "Container",
        "default": {"cpu": "500m", "memory": "512Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "128Mi"},
    }
    yield "v1", "LimitRange", "developer", namespaced, {"spec": {"limits": [defaults]}}
    yield f"{RBAC}/v1", "RoleBinding", "developer", namespaced, _binding("edit", given.get("users", [name]))
    yield f"{RBAC}/v1", "RoleBinding", "viewer", namespaced, _binding("view", given.get("viewers") or [])
    if hardened:
        yield "v1", "ServiceAccount", "default", namespaced, {"automountServiceAccountToken": False}
        for policy, spec in hardening.network_policies(given):
            yield NETWORKING, "NetworkPolicy", policy, namespaced, {"spec": spec}


def _binding(role: str, people: Sequence[str]) -> dict[str, Any]:
    return {
        "subjects": [{"kind": "User", "name": each, "apiGroup": RBAC} for each in people],
        "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": RBAC},
    }


def namespaces_manifest(given: Sequence[Mapping[str, Any]], admins: Sequence[str], *, hardened: bool) -> str:
    """Return the manifest of all namespaces and admins, as one line of JSON."""
    items = namespace_objects(given, admins, hardened=hardened)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def unlisted(managed: Sequence[str], given: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the namespaces that an earlier run applied, and that group data does not list any more."""
    return sorted(set(managed) - {namespace["name"] for namespace in given})


def deletion_faults(dropped: Sequence[str], given: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a fault for each namespace to delete that group data still lists."""
    for name in sorted({namespace["name"] for namespace in given} & set(dropped)):
        yield f"k3s_drop_namespaces: k3s_namespaces still lists {name}; remove it there first"


@operation_with_facts(lambda **_: paths(OLD_MANIFEST))
def remove_old_manifest(facts: HostFacts) -> Steps:
    """Remove the manifest that earlier releases wrote, before a server starts and applies it. Nothing is deleted."""
    if OLD_MANIFEST in facts.paths:
        yield f"rm {OLD_MANIFEST}"


@operation()
def apply_namespaces(manifest: str, servers: Sequence[str]) -> Steps:
    """Apply the namespaces through a server that answers, if those in the cluster differ. None is deleted."""

    def is_due(server: str) -> bool:
        return k3s_cluster.differs(server, "k3s_namespaces", *SERVER_SIDE, manifest=manifest)

    try:
        due = k3s_cluster.first_answer(servers, is_due)
    except StepFailed as failure:
        yield from _unanswered(failure)
        due = not ctx_state.get().is_executing
    if due:
        yield FunctionCommand(_apply, (manifest, servers), {})


def _unanswered(failure: StepFailed) -> Steps:
    """Fail. A plan of the first run only goes on, because no server runs yet."""
    if ctx_state.get().is_executing:
        yield FunctionCommand(report_failure, (str(failure),), {})
    elif installed_version():
        log_message(host, str(failure))


def _apply(state: State, host: Host, manifest: str, servers: Sequence[str]) -> bool:
    return k3s_cluster.log_failure(host, lambda: _apply_or_fail(manifest, servers))


def _apply_or_fail(manifest: str, servers: Sequence[str]) -> None:
    server = k3s_cluster.responsive_server(*servers) or servers[0]
    ok, output = k3s_cluster.repeat_kubectl(server, "apply", *SERVER_SIDE, "--filename=-", seconds=60, stdin=manifest)
    if not ok:
        raise StepFailed("\n    ".join(["applying k3s_namespaces failed; correct them and run this again:", *output]))


def managed_namespaces(servers: Sequence[str]) -> list[str]:
    """Return the namespaces in the cluster that groundcrew applied; raise StepFailed if no server answers."""
    words, failure = ("get", "namespaces", f"--selector={MANAGED}", "--output=name"), "reading the namespaces failed"
    names = k3s_cluster.first_answer(servers, lambda each: k3s_cluster.kubectl_or_fail(each, *words, failure=failure))
    return [name.removeprefix("namespace/") for name in names]


@operation()
def delete_namespaces(names: Sequence[str], given: Sequence[Mapping[str, Any]], servers: Sequence[str]) -> Steps:
    """Delete these namespaces with everything in them. Say which other ones are not listed, and stay."""
    try:
        found = unlisted(managed_namespaces(servers), given)
    except StepFailed as failure:
        yield from _unanswered(failure)
        return
    for name in (each for each in found if each in names):
        yield FunctionCommand(_delete, (name, servers), {})
    if staying := [each for each in found if each not in names]:
        log_message(
            host,
            f"k3s_namespaces does not list {', '.join(staying)}, which groundcrew once created. Nothing is deleted; to "
            f"delete a namespace with everything in it: --data k3s_drop_namespaces={staying[0]}",
        )


def _delete(state: State, host: Host, name: str, servers: Sequence[str]) -> bool:
    server = k3s_cluster.responsive_server(*servers) or servers[0]
    words = ("delete", "namespace", name, "--ignore-not-found", f"--timeout={DELETE_TIMEOUT}s")
    failure, seconds = f"deleting namespace {name} failed", DELETE_TIMEOUT + ANSWER_TIMEOUT
    return k3s_cluster.log_failure(
        host, lambda: k3s_cluster.kubectl_or_fail(server, *words, failure=failure, seconds=seconds)
    )
