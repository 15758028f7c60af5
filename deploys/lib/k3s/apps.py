"""Apps of a cluster, as group data names them: which objects they are, what is wrong, and what differs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from deploys.lib import passwords
from deploys.lib.group_data import unknown_keys
from deploys.lib.k3s.app_examples import EXAMPLES

Json: TypeAlias = dict[str, Any]
APP_KEYS = ("name", "namespace", "chart", "repo", "manifests", "version", "values", "ready", "smoke", "wait")
SMOKE_KEYS = ("image", "command", "secret", "seconds")
SYSTEM = "kube-system"  # the namespace of HelmChart objects, of their Helm jobs and of our records
APP_LABEL = "groundcrew/app"
K3S_CHARTS = ("traefik", "traefik-crd")  # K3s's own HelmChart objects
SHARED_KINDS = ("Namespace", "CustomResourceDefinition")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
NAME = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
READY = re.compile("(deployment|statefulset|daemonset)/[a-z0-9][-.a-z0-9]*")
MAXIMUM = 450_000  # bytes; a ConfigMap holds 1 MiB, and it keeps two specifications
ABORT, RETRY = "abort", "retry"


@dataclass(frozen=True)
class ClusterApp:
    """An app as it shall run. `spec` has no secret; it is kept in the cluster to compare with and to go back to."""

    name: str
    namespace: str
    spec: Json
    secrets: Sequence[Json] = field(repr=False)  # objects of kind Secret
    wait: int  # seconds, for the Helm job, and for each workload

    @property
    def version(self) -> str:
        return str(self.spec["version"])


def expanded(given: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return the apps, with an example's settings in place of its name."""
    apps = []
    for app in given:
        settings = dict(app)
        example = settings.pop("example", "")
        apps.append(EXAMPLES[example](**settings) if example else settings)
    return apps


def example_faults_of(given: Any) -> Iterator[str]:
    """Yield a fault unless these are apps, and for each example that there is not, or that has no such setting."""
    if not isinstance(given, list | tuple) or not all(isinstance(app, Mapping) for app in given):
        yield 'apps: this is not a list of apps; write [{"name": "shop", …}] or [{"example": "nats"}]'
        return
    for app in given:
        if "example" in app and app["example"] not in EXAMPLES:
            yield f"apps: there is no example {app['example']!r}; there are {', '.join(EXAMPLES)}"
        elif "example" in app:
            known = signature(EXAMPLES[app["example"]]).parameters
            yield from unknown_keys(f"apps: example {app['example']}", app, ("example", *known))


def app_faults(given: Sequence[Mapping[str, Any]], root: Path) -> Iterator[str]:
    """Yield each fault in the apps of the group data."""
    names = [str(app.get("name") or "") for app in given]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"apps: {name} is there {names.count(name)} times; give each app a name of its own"
    for app in given:
        name = str(app.get("name") or "")
        where = f"apps: {name or dict(app)}"
        yield from unknown_keys(where, app, APP_KEYS)
        for key in ("name", "namespace"):
            if not NAME.fullmatch(str(app.get(key) or "")) or len(str(app[key])) > 40:
                yield f"{where}: {key} is {app.get(key)!r}; use at most 40 lowercase letters, digits and hyphens"
        if name in K3S_CHARTS:
            yield f"{where}: this chart is K3s's own; use another name"
        yield from _source_faults(where, app, root)
        ready = app.get("ready") or ()
        for workload in ready if isinstance(ready, list | tuple) else [ready]:
            if isinstance(ready, str) or not READY.fullmatch(str(workload)):
                yield f"{where}: ready has {workload!r}; use a list of deployment/NAME, statefulset/… or daemonset/…"
        yield from _smoke_faults(where, app.get("smoke"))
        if not _is_seconds(app.get("wait", 600)):
            yield f"{where}: wait is {app['wait']!r}; use seconds"


def _is_seconds(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _smoke_faults(where: str, smoke: Any) -> Iterator[str]:
    if smoke is None:
        return
    if not isinstance(smoke, Mapping):
        yield f'{where}: smoke is {smoke!r}; write {{"image": "…", "command": ["…"]}}'
        return
    yield from unknown_keys(f"{where}: smoke", smoke, SMOKE_KEYS)
    if not smoke.get("image") or not isinstance(smoke.get("command"), list | tuple) or not smoke["command"]:
        yield f'{where}: smoke needs an image and a command, such as ["curl", "--fail", "http://shop"]'
    if not _is_seconds(smoke.get("seconds", 120)):
        yield f"{where}: smoke: seconds is {smoke['seconds']!r}; use a number"


def _source_faults(where: str, app: Mapping[str, Any], root: Path) -> Iterator[str]:
    if bool(app.get("chart")) == bool(app.get("manifests")):
        yield f"{where}: set either chart or manifests"
    elif app.get("manifests"):
        for key in ("repo", "values"):
            if app.get(key):
                yield f"{where}: {key} is for charts; remove it, or set chart instead of manifests"
        yield from _manifest_faults(where, app, root)
    else:
        chart = str(app["chart"])
        if chart.startswith("https://"):
            if app.get("repo") or app.get("version"):
                yield f"{where}: the URL of a chart has its version; remove repo and version"
        elif not app.get("version"):
            yield f"{where}: version is missing, and the newest chart can break the app; name one"
        elif chart.startswith("oci://") == bool(app.get("repo")):
            yield f'{where}: chart is {chart}; use a name with repo = "https://…", or a URL with oci:// and no repo'
        if not isinstance(app.get("values") or {}, Mapping):
            yield f"{where}: values are not a dict; use the keys of the chart"
        yield from _secret_faults(f"{where}: values", app.get("values"))


def _manifest_faults(where: str, app: Mapping[str, Any], root: Path) -> Iterator[str]:
    try:
        objects = manifest_objects(app["manifests"], root)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        yield f"{where}: manifests can't be read: {error}"
        return
    if not objects:
        yield f"{where}: {app['manifests']} has no objects; name a file, or a directory with *.yaml"
    for each in objects:
        metadata = each.get("metadata") if isinstance(each, dict) else None
        if not isinstance(metadata, dict) or not (each.get("apiVersion") and each.get("kind") and metadata.get("name")):
            yield f"{where}: an object in manifests has no apiVersion, kind or metadata.name"
            continue
        if metadata.get("namespace", app.get("namespace")) != app.get("namespace"):
            yield f"{where}: {object_name(each)} is for namespace {metadata['namespace']}; make it an app of its own"
        if each["kind"] == "Secret":
            yield from _plain_secret_faults(f"{where}: {object_name(each)}", each)
        elif _has_secret(each):
            yield f"{where}: {object_name(each)} has a secret; put it in an object of kind Secret, under stringData"


def _plain_secret_faults(where: str, given: Json) -> Iterator[str]:
    for name, value in (given.get("stringData") or {}).items():
        if _is_secret(value):
            yield from _secret_faults(f"{where}: {name}", value)
        else:
            yield f'{where}: {name} is in clear; write {{secret: {{env: "A_VARIABLE"}}}}'
    if given.get("data"):
        yield f"{where}: data is in clear, only encoded; use stringData with {{secret: {{env: …}}}}"


def _is_secret(value: object) -> bool:
    return isinstance(value, Mapping) and set(value) == {"secret"} and isinstance(value["secret"], Mapping)


def _has_secret(value: Any) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return _is_secret(value) or any(map(_has_secret, inner))


def _secret_faults(where: str, value: Any) -> Iterator[str]:
    if _is_secret(value):
        yield from passwords.faults(where, value["secret"])
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secret_faults(f"{where}: {key}", inner)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _secret_faults(where, each)


def manifest_objects(given: str | Sequence[Json], root: Path) -> list[Json]:
    """Return the objects of a file, of the YAML files in a directory, or of a list."""
    if not isinstance(given, str):
        return list(given)
    path = root / given
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]
    return [each for one in documents for each in (one["items"] if _is_list(one) else [one])]


def _is_list(document: object) -> bool:
    return isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list)


def object_name(each: Mapping[str, Any]) -> str:
    """Return kind and name of an object, as kubectl takes them."""
    return f"{each['kind']}/{each['metadata']['name']}"


def app_of(given: Mapping[str, Any], root: Path) -> ClusterApp:
    """Return an app with its secrets, which are read now."""
    wait = int(given.get("wait", 600))
    objects, secrets = _chart(given, wait) if given.get("chart") else _manifests(given, root)
    smoke = given.get("smoke")
    spec = {
        "version": str(given.get("version") or ""),
        "namespace": given["namespace"],
        "chart": bool(given.get("chart")),
        "objects": objects,
        "secrets": [each["metadata"]["name"] for each in secrets],
        "ready": list(given["ready"]) if "ready" in given else _workloads(objects),
        "smoke": {**smoke, "command": list(smoke["command"])} if smoke else None,
    }
    # YAML has dates, and Kubernetes takes them as text.
    return ClusterApp(given["name"], given["namespace"], json.loads(json.dumps(spec, default=str)), secrets, wait)


def size_faults(app: ClusterApp) -> Iterator[str]:
    """Yield a fault if a ConfigMap cannot hold the app's specification."""
    if (size := len(json.dumps(app.spec))) > MAXIMUM:
        yield f"apps: {app.name} has {size} bytes, and a ConfigMap in the cluster keeps them; make two apps of it"


def _workloads(objects: Sequence[Json]) -> list[str]:
    return [object_name(each).lower() for each in objects if each["kind"] in WORKLOADS]


def _chart(given: Mapping[str, Any], wait: int) -> tuple[list[Json], list[Json]]:
    name, secrets = str(given["name"]), []
    plain, hidden = split_values(given.get("values") or {}, f"apps: {name}")
    spec: Json = {
        "chart": given["chart"],
        "targetNamespace": given["namespace"],
        "createNamespace": True,
        "backOffLimit": 3,
        "timeout": f"{wait}s",
        "valuesContent": json.dumps(plain, sort_keys=True, default=str),
        **{key: str(given[key]) for key in ("repo", "version") if given.get(key)},
    }
    if hidden:
        text = json.dumps(hidden, sort_keys=True, default=str)
        metadata = {"name": f"{name}-values-{fingerprint(text)}", "namespace": SYSTEM, "labels": {APP_LABEL: name}}
        secrets.append(_object("v1", "Secret", metadata, stringData={"values.yaml": text}, immutable=True))
        spec["valuesSecrets"] = [{"name": metadata["name"], "keys": ["values.yaml"]}]
    chart = _object("helm.cattle.io/v1", "HelmChart", {"name": name, "namespace": SYSTEM}, spec=spec)
    return [chart], secrets


def _object(version: str, kind: str, metadata: Json, **rest: Any) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def _manifests(given: Mapping[str, Any], root: Path) -> tuple[list[Json], list[Json]]:
    where, objects = f"apps: {given['name']}", manifest_objects(given["manifests"], root)
    secrets = [
        {**each, "stringData": {key: _revealed(value, where) for key, value in (each.get("stringData") or {}).items()}}
        for each in objects
        if each["kind"] == "Secret"
    ]
    namespace = _object("v1", "Namespace", {"name": given["namespace"]})
    own = any(object_name(each) == object_name(namespace) for each in objects)
    return [*([] if own else [namespace]), *(each for each in objects if each["kind"] != "Secret")], secrets


def split_values(values: Mapping[str, Any], where: str) -> tuple[Json, Json]:
    """Return the values without secrets, and those with their secrets. Helm replaces lists, so these stay whole."""
    plain: Json = {}
    hidden: Json = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and not _is_secret(value):
            plain[key], inner = split_values(value, where)
            hidden |= {key: inner} if inner else {}
        elif _has_secret(value):
            hidden[key] = _revealed(value, where)
        else:
            plain[key] = value
    return plain, hidden


def _revealed(value: Any, where: str) -> Any:
    if _is_secret(value):
        return passwords.reveal(where, dict(value["secret"]))
    if isinstance(value, Mapping):
        return {key: _revealed(inner, where) for key, inner in value.items()}
    return [_revealed(inner, where) for inner in value] if isinstance(value, list | tuple) else value


def fingerprint(text: str) -> str:
    """Return a name for a secret's content. scrypt makes guesses of the content slow."""
    return hashlib.scrypt(text.encode(), salt=b"groundcrew app", n=2**14, r=8, p=1, dklen=8).hex()


@dataclass(frozen=True)
class AppRecord:
    """What the cluster keeps about an app."""

    green: Json | None = None  # the specification of the last run that did not fail
    tried: Json | None = None  # that of a run that did not finish, or failed
    job: str = ""  # the uid of the Helm job before that run

    @property
    def last(self) -> Json | None:
        """The specification whose objects can be in the cluster."""
        return self.green or self.tried

    def begun(self, spec: Json, job: str = "") -> AppRecord:
        """Return the record of a run that begins. While it goes back, it keeps the specification that failed."""
        return AppRecord(self.green, self.tried or spec if spec == self.green else spec, job)

    def as_object(self, name: str) -> Json:
        """Return the ConfigMap that keeps the record."""
        specs = {"green": self.green, "tried": self.tried}
        data = {key: json.dumps(spec, sort_keys=True) for key, spec in specs.items() if spec} | {"job": self.job}
        metadata = {"name": f"groundcrew-app-{name}", "namespace": SYSTEM, "labels": {APP_LABEL: name}}
        return _object("v1", "ConfigMap", metadata, data=data)


def with_policy(spec: Json, policy: str) -> list[Json]:
    """Return the objects of a specification. A HelmChart gets this failure policy."""
    return [
        {**each, "spec": {**each["spec"], "failurePolicy": policy}} if each["kind"] == "HelmChart" else each
        for each in spec["objects"]
    ]


def failure_policy(release: str) -> str:
    """Return the failure policy for a Helm release in this state.

    With `abort`, Helm leaves a failed release alone, also when its chart changes. `retry` upgrades it.
    """
    return RETRY if release and release != "deployed" else ABORT


def differences(record: AppRecord, wanted: Json, is_applied: Callable[[], bool]) -> list[str]:
    """Return what deploying an app would change; nothing if it runs as wanted and the cluster has its objects."""
    green, found = record.green, []
    if green is None:
        return [f"install {wanted['version']}".strip()]
    if green["version"] != wanted["version"]:
        found.append(f"version {green['version'] or 'none'} → {wanted['version'] or 'none'}")
    before, after = (_parts(spec) for spec in (green, wanted))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    found += [f"{name} {_verb(name, before, after)}" for name in changed]
    if record.tried and not found:
        found.append("the last run failed, or did not finish")
    if not found and not is_applied():
        found.append("the cluster differs from group data")
    return found


def _verb(name: str, before: Json, after: Json) -> str:
    if name in before and name in after:
        return "changes"
    return "is new" if name in after else "is removed" if name.startswith("values: ") else "stays, no longer listed"


def _parts(spec: Json) -> Json:
    """Return the parts of a specification by a name for people."""
    parts: Json = {key: spec[key] for key in ("ready", "smoke")}
    for each in spec["objects"]:
        if each["kind"] != "HelmChart":
            parts[object_name(each)] = each
            continue
        chart = {key: value for key, value in each["spec"].items() if key not in ("version", "valuesContent")}
        parts["secret values"] = chart.pop("valuesSecrets", None)
        parts["settings of the chart"] = chart
        parts |= {f"values: {path}": value for path, value in _paths(json.loads(each["spec"]["valuesContent"]))}
    return parts


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def move_faults(app: ClusterApp, record: AppRecord) -> Iterator[str]:
    """Yield a fault if an app would move to another namespace, or become a chart, which deletes what it was."""
    last = record.last
    if last and (last["namespace"], last["chart"]) != (app.namespace, app.spec["chart"]):
        kind = "a chart" if last["chart"] else "manifests"
        yield (
            f"apps: {app.name} runs in namespace {last['namespace']} from {kind}, and moving it would delete its data; "
            f"use another name, then remove the old one with --data remove={app.name}"
        )


def foreign_faults(app: ClusterApp, record: AppRecord, charts: Iterable[str]) -> Iterator[str]:
    """Yield a fault if the cluster has a HelmChart of this name that groundcrew did not apply."""
    if app.spec["chart"] and record.last is None and app.name in charts:
        yield (
            f"apps: {SYSTEM} already has a HelmChart {app.name}, which is not groundcrew's, and its release would be "
            "upgraded; use another name, or delete that HelmChart, which uninstalls it"
        )


def removed_objects(record: AppRecord) -> list[Json]:
    """Return the objects of an app from manifests to delete, the last ones first.

    With a namespace, or a custom resource definition, objects of others would go too.
    """
    objects = {object_name(each): each for spec in (record.tried, record.green) if spec for each in spec["objects"]}
    hidden = {name: spec for spec in (record.tried, record.green) if spec for name in spec["secrets"]}
    secrets = [_object("v1", "Secret", {"name": name}) for name in hidden]
    return [*secrets, *(each for each in reversed(objects.values()) if each["kind"] not in SHARED_KINDS)]


def removal_faults(names: Sequence[str], listed: Iterable[str], deployed: Iterable[str]) -> Iterator[str]:
    """Yield a fault for each app that can't be removed."""
    for name in names:
        if name in listed:
            yield f"remove: apps still lists {name}; remove it there first"
        elif name not in deployed:
            yield f"remove: {name} is not an app that groundcrew deployed; there are: {', '.join(deployed) or 'none'}"


def smoke_job(name: str, spec: Json) -> Json:
    """Return the Job of an app's smoke test. It has few rights, so that it also runs in a hardened namespace."""
    smoke = spec["smoke"]
    container: Json = {
        "name": "smoke",
        "image": smoke["image"],
        "command": smoke["command"],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if smoke.get("secret"):
        container["envFrom"] = [{"secretRef": {"name": smoke["secret"]}}]
    pod: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    job = {"backoffLimit": 0, "activeDeadlineSeconds": smoke.get("seconds", 120), "ttlSecondsAfterFinished": 86400}
    metadata = {"name": f"{name}-smoke", "namespace": spec["namespace"], "labels": {APP_LABEL: name}}
    return _object("batch/v1", "Job", metadata, spec={**job, "template": {"spec": pod}})


def parse_records(listed: Json) -> dict[str, AppRecord]:
    """Return the records in kubectl's list of ConfigMaps, by the apps' names."""
    records = {}
    for each in listed["items"]:
        data = each.get("data") or {}
        green, tried = (json.loads(data[key]) if key in data else None for key in ("green", "tried"))
        records[each["metadata"]["labels"][APP_LABEL]] = AppRecord(green, tried, data.get("job", ""))
    return records


@dataclass(frozen=True)
class Release:
    """The newest revision of a Helm release."""

    status: str = ""
    config: str = ""  # hash of the configuration that Helm applied


def parse_helm_release(lines: Iterable[str]) -> Release:
    """Return the newest release in lines of version, status and hash."""
    found = [line.split(" ") for line in lines if line.strip()]
    newest = max(found, key=lambda words: int(words[0]), default=["0", "", ""])
    return Release(newest[1], newest[2] if len(newest) > 2 else "")


def job_end(job: Json | None) -> str:
    """Return "Complete", why a Job failed, or "" while it runs."""
    for each in (job or {}).get("status", {}).get("conditions") or ():
        if each["status"] == "True" and each["type"] in ("Complete", "Failed"):
            reason = f" ({each['reason']})" if each.get("reason") else ""
            return "Complete" if each["type"] == "Complete" else f"failed{reason}"
    return ""


def job_outcome(job: Json | None, before: str, release: Release) -> str:
    """Return "done", "failed" or "" while a Helm job runs that is not the one `before`.

    A job can end well and leave a release that failed, or one of an older configuration; then K3s starts another.
    """
    if job is None or job["metadata"]["uid"] == before:
        return ""
    end = job_end(job)
    if end.startswith("failed"):
        return "failed"
    annotations = job["spec"]["template"]["metadata"].get("annotations") or {}
    config = annotations.get("helmcharts.helm.cattle.io/configHash", "").partition("=")[2][:63]
    is_current = not config or not release.config or release.config == config
    if not end or not is_current:
        return ""
    return {"deployed": "done", "failed": "failed"}.get(release.status, "")
