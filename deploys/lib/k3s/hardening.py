"""The hardening guide of K3s, for clusters with k3s_hardened. docs/k3s-hardening.md lists each point of it.

https://docs.k3s.io/security/hardening-guide
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploys.lib.header import HEADER
from deploys.lib.k3s.files import DATA, SECURITY_LEVELS

ADMISSION, AUDIT_POLICY = "/etc/rancher/k3s/admission.yaml", "/etc/rancher/k3s/audit-policy.yaml"
SERVER_FOLDER, AUDIT_FOLDER = f"{DATA}/server", f"{DATA}/server/logs"
# Prints whether the server has keys for secrets, if it belongs to a cluster.
ENCRYPTION_STATE = (
    f"test ! -e {DATA}/server/db/etcd || "
    f"{{ test -e {DATA}/server/cred/encryption-config.json && echo encrypted || echo clear; }}"
)
# With protect-kernel-defaults, the kubelet does not start if the kernel has other values.
KERNEL_SETTINGS = {
    "kernel.panic": 10,
    "kernel.panic_on_oops": 1,
    "vm.overcommit_memory": 1,
    "vm.panic_on_oom": 0,
}
CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
)
SERVER_ARGUMENTS = {
    "kube-apiserver-arg": (
        "enable-admission-plugins=NodeRestriction,EventRateLimit",
        f"admission-control-config-file={ADMISSION}",
        f"audit-policy-file={AUDIT_POLICY}",
        f"audit-log-path={AUDIT_FOLDER}/audit.log",
        "audit-log-maxage=30",
        "audit-log-maxbackup=10",
        "audit-log-maxsize=100",
        "service-account-extend-token-expiration=false",
    ),
    "kube-controller-manager-arg": ("terminated-pod-gc-threshold=100",),
}
NODE_ARGUMENTS = {
    "kubelet-arg": (
        "streaming-connection-idle-timeout=5m",
        f"tls-cipher-suites={','.join(CIPHERS)}",
        "pod-max-pids=4096",
        "seccomp-default=true",
    )
}
# K3s's own pods need more rights, such as those of its load balancer.
EXEMPT_NAMESPACES = ["kube-system"]
ADMISSION_CONFIGURATION = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "PodSecurity",
            "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1",
                "kind": "PodSecurityConfiguration",
                "defaults": {
                    f"{mode}{suffix}": value
                    for mode in ("enforce", "audit", "warn")
                    for suffix, value in (("", "restricted"), ("-version", "latest"))
                },
                "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": EXEMPT_NAMESPACES},
            },
        },
        {
            "name": "EventRateLimit",
            "configuration": {
                "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
                "kind": "Configuration",
                "limits": [
                    {"type": "Server", "qps": 5000, "burst": 20000},
                    {"type": "Namespace", "qps": 500, "burst": 2000, "cacheSize": 2000},
                ],
            },
        },
    ],
}
# Who did what; never the contents of secrets, and nothing of what the cluster asks itself all the time.
AUDIT_RULES = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*"]},
        {"level": "None", "verbs": ["get", "list", "watch"], "users": ["system:kube-controller-manager"]},
        {"level": "None", "verbs": ["get", "list", "watch"], "users": ["system:kube-scheduler", "system:apiserver"]},
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {
            "level": "RequestResponse",
            "verbs": ["create", "update", "patch", "delete"],
            "resources": [{"group": "rbac.authorization.k8s.io"}, {"group": "certificates.k8s.io"}],
        },
        {"level": "Metadata"},
    ],
}


def admission_configuration() -> str:
    """Return which pods the API server admits by default, and how many events it takes."""
    return HEADER + json.dumps(ADMISSION_CONFIGURATION, indent=2) + "\n"


def audit_policy() -> str:
    """Return which requests the API server writes to its audit log."""
    return HEADER + json.dumps(AUDIT_RULES, indent=2) + "\n"


def hardened(config: Mapping[str, Any], *, server: bool) -> dict[str, Any]:
    """Return a node's configuration with that of the guide. What group data sets wins, also a single argument."""
    flags = {"protect-kernel-defaults": True, **({"secrets-encryption": True} if server else {})}
    arguments = {**NODE_ARGUMENTS, **(SERVER_ARGUMENTS if server else {})}
    return {**flags, **config, **{key: _with(config.get(key), values) for key, values in arguments.items()}}


def _with(given: object, arguments: Sequence[str]) -> list[str]:
    own = [str(each) for each in given] if isinstance(given, list | tuple) else [str(given)] if given else []
    names = {each.partition("=")[0] for each in own}
    return [*own, *(each for each in arguments if each.partition("=")[0] not in names)]


def encryption_faults(state: Sequence[str], *, wanted: bool) -> Iterator[str]:
    """Yield a fault if the servers would restart with, or without, encryption of secrets, unlike before.

    `state` is the output of ENCRYPTION_STATE, empty before the cluster exists.
    """
    if state == ["clear"] and wanted:
        yield (
            "secrets-encryption: the cluster was created without it, and with it each server would make a key of its "
            'own; set k3s_config = {"secrets-encryption": False}, or switch it on by hand first, as '
            "docs/k3s-hardening.md says"
        )
    if state == ["encrypted"] and not wanted:
        yield (
            "secrets-encryption: the cluster encrypts secrets, and without it no server could read them; "
            'set k3s_config = {"secrets-encryption": True}'
        )


def namespace_security(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels that say which pods a namespace admits."""
    level = str(given.get("security") or SECURITY_LEVELS[0])
    return {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "audit", "warn")}


def network_policies(given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield names and specs of the policies of a namespace.

    Pods reach each other, DNS and the networks in `egress`. The ingress controller reaches them. All else is denied.
    """
    all_pods: dict[str, Any] = {"podSelector": {}}
    yield "default-deny", {**all_pods, "policyTypes": ["Ingress", "Egress"]}
    within = {"ingress": [{"from": [all_pods]}], "egress": [{"to": [all_pods]}]}
    yield "same-namespace", {**all_pods, "policyTypes": ["Ingress", "Egress"], **within}
    dns = {"namespaceSelector": _named("kube-system"), "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    yield "dns", {**all_pods, "policyTypes": ["Egress"], "egress": [{"to": [dns], "ports": _ports(53)}]}
    system = {"namespaceSelector": _named("kube-system")}
    yield "ingress-controller", {**all_pods, "policyTypes": ["Ingress"], "ingress": [{"from": [system]}]}
    blocks = [{"ipBlock": {"cidr": each}} for each in given.get("egress") or ()]
    # An empty list of sources allows all of them.
    yield "egress", {**all_pods, "policyTypes": ["Egress"], "egress": [{"to": blocks}] if blocks else []}


def system_policies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield namespace, name and spec of the policies of Kubernetes's own namespaces, as in the guide."""
    for namespace in ("default", "kube-node-lease", "kube-public", "kube-system"):
        source = {"namespaceSelector": _named(namespace)}
        yield namespace, "intra-namespace", _ingress({}, [{"from": [source]}])
    yield "kube-system", "dns", _ingress({"k8s-app": "kube-dns"}, [{"ports": _ports(53)}])
    for name, labels in (
        ("metrics-server", {"k8s-app": "metrics-server"}),
        ("svclb-traefik", {"svccontroller.k3s.cattle.io/svcname": "traefik"}),
        ("traefik", {"app.kubernetes.io/name": "traefik"}),
    ):
        yield "kube-system", name, _ingress(labels, [{}])


def _ingress(labels: Mapping[str, str], rules: list[dict[str, Any]]) -> dict[str, Any]:
    selector = {"matchLabels": dict(labels)} if labels else {}
    return {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules}


def _named(namespace: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def _ports(number: int) -> list[dict[str, Any]]:
    return [{"port": number, "protocol": protocol} for protocol in ("UDP", "TCP")]
