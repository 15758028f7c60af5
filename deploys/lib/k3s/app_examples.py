"""Apps that groundcrew ships as examples. None is deployed unless `apps` in group data names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).resolve().parents[3] / "jobs/monitoring"
CHARTS = "https://prometheus-community.github.io/helm-charts"
HOSTS = {
    "job_name": "node-exporter",
    "kubernetes_sd_configs": [{"role": "node"}],
    "relabel_configs": [
        {
            "source_labels": ["__address__"],
            "regex": "(.*):[0-9]+",
            "target_label": "__address__",
            "replacement": "$1:9100",
        }
    ],
}


def postgresql(
    *,
    namespace: str = "shared",
    memory: str = "8Gi",
    storage: str = "50Gi",
    image: str = "postgres:16.10",
    password: Mapping[str, Any] = {"env": "SHARED_POSTGRES_PASSWORD"},
) -> dict[str, Any]:
    """Return a PostgreSQL server that developers share."""
    return _service(
        "postgresql",
        namespace,
        image,
        port=5432,
        memory=memory,
        storage=storage,
        mount="/var/lib/postgresql/data",
        user=999,
        secrets={"POSTGRES_PASSWORD": password},
        environment={"PGDATA": "/var/lib/postgresql/data/pgdata"},
        probe=["pg_isready", "--username=postgres"],
        smoke=["pg_isready", "--host=postgresql", "--username=postgres"],
    )


def valkey(
    *,
    namespace: str = "shared",
    memory: str = "2Gi",
    storage: str = "5Gi",
    image: str = "valkey/valkey:8.1",
    password: Mapping[str, Any] = {"env": "SHARED_VALKEY_PASSWORD"},
) -> dict[str, Any]:
    """Return a Valkey server, which speaks the protocol of Redis."""
    return _service(
        "valkey",
        namespace,
        image,
        port=6379,
        memory=memory,
        storage=storage,
        mount="/data",
        user=999,
        secrets={"VALKEY_PASSWORD": password, "REDISCLI_AUTH": password},
        command=["sh", "-c", 'printf "requirepass %s\\n" "$VALKEY_PASSWORD" | exec valkey-server - --appendonly yes'],
        probe=["valkey-cli", "-e", "ping"],
        smoke=["valkey-cli", "-h", "valkey", "-e", "ping"],
    )


def s3(
    *,
    namespace: str = "shared",
    memory: str = "2Gi",
    storage: str = "50Gi",
    image: str = "chrislusf/seaweedfs:4.40",
    access_key: Mapping[str, Any] = {"env": "SHARED_S3_ACCESS_KEY"},
    secret_key: Mapping[str, Any] = {"env": "SHARED_S3_SECRET_KEY"},
) -> dict[str, Any]:
    """Return an object storage with the API of S3: SeaweedFS."""
    status = "http://{}:8333/status"
    return _service(
        "s3",
        namespace,
        image,
        port=8333,
        memory=memory,
        storage=storage,
        mount="/data",
        user=1000,
        secrets={"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
        command=["weed", "server", "-dir=/data", "-s3", "-ip=localhost", "-ip.bind=0.0.0.0"],
        probe=["wget", "-q", "-O", "/dev/null", status.format("localhost")],
        smoke=["wget", "-q", "-O", "/dev/null", status.format("s3")],
    )


def nats(
    *, namespace: str = "shared", memory: str = "1Gi", storage: str = "5Gi", image: str = "nats:2.11-alpine"
) -> dict[str, Any]:
    """Return a NATS server with JetStream."""
    health = "http://{}:8222/healthz"
    return _service(
        "nats",
        namespace,
        image,
        port=4222,
        memory=memory,
        storage=storage,
        mount="/data",
        user=1000,
        command=["nats-server", "--jetstream", "--store_dir=/data", "--http_port=8222"],
        more_ports=[8222],
        probe=["wget", "-q", "-O", "/dev/null", health.format("localhost")],
        smoke=["wget", "-q", "-O", "/dev/null", health.format("nats")],
    )


def monitoring(
    *,
    namespace: str = "monitoring",
    memory: str = "3Gi",
    storage: str = "20Gi",
    version: str = "92.20.0",
    password: Mapping[str, Any] = {"env": "GRAFANA_PASSWORD"},
) -> dict[str, Any]:
    """Return kube-prometheus-stack with groundcrew's rules and dashboard. `memory` is that of Prometheus."""
    provider = {"name": "groundcrew", "type": "file", "options": {"path": "/var/lib/grafana/dashboards/groundcrew"}}
    return {
        "name": "monitoring",
        "namespace": namespace,
        "chart": "kube-prometheus-stack",
        "repo": CHARTS,
        "version": version,
        "values": {
            "fullnameOverride": "monitoring",
            "additionalPrometheusRulesMap": {"groundcrew": yaml.safe_load((MONITORING / "rules.yml").read_text())},
            # host.py runs node_exporter on each host already; HOSTS reads it.
            "nodeExporter": {"enabled": False},
            # K3s has no pods for these.
            "kubeEtcd": {"enabled": False},
            "kubeControllerManager": {"enabled": False},
            "kubeScheduler": {"enabled": False},
            "kubeProxy": {"enabled": False},
            "prometheus": {
                "prometheusSpec": {
                    "retention": "15d",
                    "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": memory}},
                    "storageSpec": {"volumeClaimTemplate": {"spec": _claim(storage)}},
                    "additionalScrapeConfigs": [HOSTS],
                }
            },
            "grafana": {
                "fullnameOverride": "grafana",
                "adminPassword": {"secret": dict(password)},
                "dashboardProviders": {"groundcrew.yaml": {"apiVersion": 1, "providers": [provider]}},
                "dashboards": {"groundcrew": {"groundcrew": {"json": (MONITORING / "dashboard.json").read_text()}}},
            },
        },
        "ready": ["deployment/monitoring-operator", "deployment/grafana"],
        "wait": 900,
    }


EXAMPLES: dict[str, Callable[..., dict[str, Any]]] = {
    each.__name__: each for each in (postgresql, valkey, s3, nats, monitoring)
}


def _service(
    name: str,
    namespace: str,
    image: str,
    *,
    port: int,
    memory: str,
    storage: str,
    mount: str,
    user: int,
    probe: Sequence[str],
    smoke: Sequence[str],
    secrets: Mapping[str, Mapping[str, Any]] | None = None,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
    more_ports: Sequence[int] = (),
) -> dict[str, Any]:
    """Return an app of one pod with a volume, which fits a namespace that admits only restricted pods."""
    ports = (port, *more_ports)
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        **({"command": list(command)} if command else {}),
        "env": [{"name": key, "value": value} for key, value in (environment or {}).items()],
        **({"envFrom": [{"secretRef": {"name": name}}]} if secrets else {}),
        "ports": [{"containerPort": each} for each in ports],
        "resources": {"requests": {"cpu": "100m", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "readinessProbe": {"exec": {"command": list(probe)}, "periodSeconds": 5, "timeoutSeconds": 5},
        "volumeMounts": [{"name": "data", "mountPath": mount}],
    }
    hidden = {key: {"secret": dict(value)} for key, value in (secrets or {}).items()}
    manifests = [_named(name, "v1", "Secret", stringData=hidden)] if hidden else []
    selector = {"app.kubernetes.io/name": name}
    named_ports = [{"name": f"port-{each}", "port": each} for each in ports]
    manifests.append(_named(name, "v1", "Service", spec={"selector": selector, "ports": named_ports}))
    manifests.append(_named(name, "apps/v1", "StatefulSet", spec=_stateful_set(name, user, container, storage)))
    return {
        "name": name,
        "namespace": namespace,
        "version": image.rpartition(":")[2],
        "manifests": manifests,
        "smoke": {"image": image, "command": list(smoke), **({"secret": name} if secrets else {})},
    }


def _named(name: str, version: str, kind: str, **rest: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}, **rest}


def _stateful_set(name: str, user: int, container: Mapping[str, Any], storage: str) -> dict[str, Any]:
    ids = {"runAsUser": user, "runAsGroup": user, "fsGroup": user}
    labels = {"app.kubernetes.io/name": name}
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, **ids, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [dict(container)],
    }
    return {
        "serviceName": name,
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": _claim(storage)}],
    }


def _claim(storage: str) -> dict[str, Any]:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
