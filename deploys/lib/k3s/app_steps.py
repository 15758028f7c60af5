"""Deploy and remove apps: apply their objects, wait for Helm and workloads, test them, and go back after a failure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.k3s import apps, cluster
from deploys.lib.k3s.apps import APP_LABEL, RETRY, SYSTEM, AppRecord, ClusterApp, Json, Release
from deploys.lib.k3s.cluster import ANSWER_TIMEOUT, StepFailed
from deploys.lib.messages import log_message
from deploys.lib.operations import Steps

# Another manager than that of k3s.py: an apply removes what its manager set before, such as labels of a namespace.
SERVER_SIDE = ("--server-side", "--force-conflicts", "--field-manager=groundcrew-apps")
HELM_CHARTS = "helmcharts.helm.cattle.io"
RELEASE = (
    "jsonpath={range .items[*]}{.metadata.labels.version} {.metadata.labels.status} "
    "{.metadata.labels.helmcharts\\.helm\\.cattle\\.io/configHash}{'\\n'}{end}"
)
NOT_BROUGHT_BACK = (
    "Not brought back: data that the new version changed, such as a database's schema, what hooks of a chart did, "
    "custom resource definitions, objects that are new, and the content of Secrets in manifests."
)
REMOVE_TIMEOUT = 600  # seconds that Helm has to uninstall a chart


@dataclass(frozen=True)
class AppCluster:
    """What the cluster has of all apps."""

    records: Mapping[str, AppRecord]
    policies: Mapping[str, str]  # the failure policy of each HelmChart


def read_apps(server: str) -> AppCluster:
    """Return what the cluster has of all apps."""
    records = _read(server, "get", "configmaps", f"--namespace={SYSTEM}", f"--selector={APP_LABEL}", "--output=json")
    charts = _read(server, "get", HELM_CHARTS, f"--namespace={SYSTEM}", "--output=json")
    policies = {each["metadata"]["name"]: each["spec"].get("failurePolicy", "") for each in charts["items"]}
    return AppCluster(apps.parse_records(records), policies)


def _read(server: str, *arguments: str) -> Json:
    return dict(json.loads(_ask(server, f"reading {arguments[1]} failed", *arguments)))


def _ask(server: str, failure: str, *arguments: str, seconds: int = ANSWER_TIMEOUT, stdin: str = "") -> str:
    ok, output = cluster.repeat_kubectl(server, *arguments, seconds=seconds, stdin=stdin)
    if not ok:
        reason = "\n    ".join(output[-15:]) or f"no answer within {seconds} s"
        raise StepFailed(f"{failure}:\n    {reason}")
    return "\n".join(output)


def is_applied(server: str, app: ClusterApp, policy: str) -> bool:
    """Return whether the cluster has the app's objects as group data has them; raise StepFailed if that is unknown."""
    options = (*SERVER_SIDE, f"--namespace={_home(app.spec)}")
    manifest = _list([*app.secrets, *apps.with_policy(app.spec, policy)])
    return not cluster.differs(server, f"app {app.name}", *options, manifest=manifest)


def _home(spec: Json) -> str:
    return SYSTEM if spec["chart"] else str(spec["namespace"])


def _list(objects: Sequence[Json]) -> str:
    namespaces_first = sorted(objects, key=lambda each: each["kind"] != "Namespace")
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": namespaces_first})


@operation()
def deploy_app(app: ClusterApp, servers: Sequence[str]) -> Steps:
    """Deploy an app, and go back to its last version if that fails."""
    yield FunctionCommand(_deploy, (app, servers), {})


def _deploy(state: State, host: Host, app: ClusterApp, servers: Sequence[str]) -> bool:
    return cluster.log_failure(host, lambda: _deploy_or_fail(host, app, servers))


def _deploy_or_fail(host: Host, app: ClusterApp, servers: Sequence[str]) -> None:
    server = _server(servers)
    record = read_apps(server).records.get(app.name, AppRecord())
    try:
        roll_out(server, app, record)
        _smoke(server, app)
    except StepFailed as failure:
        if record.green in (None, app.spec):
            raise StepFailed(
                f"app {app.name}: {failure}\nthere is no other version to go back to, so it stays as it is; correct "
                f"it and run this again, or remove it from apps and add --data remove={app.name}"
            ) from None
        raise StepFailed(f"app {app.name}: {failure}\n{_go_back(host, server, app, record)}") from None
    _keep(server, app.name, AppRecord(app.spec))
    _delete_old_secrets(server, app)


def _server(servers: Sequence[str]) -> str:
    if server := cluster.responsive_server(*servers):
        return server
    raise StepFailed(f"none of {', '.join(servers)} answers, so no app was changed; repair one with deploys/k3s.py")


def _go_back(host: Host, server: str, app: ClusterApp, record: AppRecord) -> str:
    """Apply the specification that ran last without a failure; return what to say about it."""
    green = record.green or {}
    version = green["version"] or "the last version"
    log_message(host, f"app {app.name}: failed; going back to {version}")
    try:
        roll_out(server, ClusterApp(app.name, app.namespace, green, (), app.wait), AppRecord(green, app.spec))
    except StepFailed as failure:
        return f"going back to {version} failed too: {failure}\nThe app needs you. {NOT_BROUGHT_BACK}"
    _keep(server, app.name, AppRecord(green))
    return f"{version} runs again. {NOT_BROUGHT_BACK}"


def roll_out(server: str, app: ClusterApp, record: AppRecord) -> None:
    """Apply an app's objects, then wait for Helm's job and for the workloads."""
    if app.spec["chart"]:
        _apply_chart(server, app, record)
    else:
        _keep(server, app.name, record.begun(app.spec))
        _apply(server, app, app.spec["objects"], "applying its manifests failed")
    for workload in app.spec["ready"]:
        words = ("rollout", "status", workload, f"--namespace={app.namespace}", f"--timeout={app.wait}s")
        _ask(server, f"{workload} is not ready after {app.wait} s", *words, seconds=app.wait + ANSWER_TIMEOUT)


def _apply(server: str, app: ClusterApp, objects: Sequence[Json], failure: str) -> None:
    arguments = ("apply", *SERVER_SIDE, f"--namespace={_home(app.spec)}", "--filename=-")
    _ask(server, failure, *arguments, seconds=60, stdin=_list([*app.secrets, *objects]))


def _apply_chart(server: str, app: ClusterApp, record: AppRecord) -> None:
    """Apply a HelmChart and wait for the job that K3s starts for it, which is not the one before."""
    release, job = _release(server, app), _job(server, app.name)
    policy = apps.failure_policy(release.status)
    if is_applied(server, app, policy):
        before = record.job
        if apps.job_outcome(job, before, release) == "failed":
            # K3s leaves a failed job alone while its chart stays the same; without the job it starts another.
            before = str((job or {})["metadata"]["uid"])
            _ask(server, "deleting the failed Helm job failed", "delete", "job", _job_name(app.name), *_IN_SYSTEM)
    else:
        before = str(job["metadata"]["uid"]) if job else ""
        _keep(server, app.name, record.begun(app.spec, before))
        hint = f"; if K3s has no failurePolicy retry yet, run: helm rollback {app.name} --namespace {app.namespace}"
        failure = "applying its HelmChart failed" + hint * (policy == RETRY)
        _apply(server, app, apps.with_policy(app.spec, policy), failure)
    _wait_for_helm(server, app, before)


_IN_SYSTEM = (f"--namespace={SYSTEM}", "--ignore-not-found")


def _wait_for_helm(server: str, app: ClusterApp, before: str) -> None:
    end, said = time.monotonic() + app.wait, ""
    while not (outcome := apps.job_outcome(_job(server, app.name), before, release := _release(server, app))):
        if time.monotonic() > end:
            raise StepFailed(
                f"Helm has not finished after {app.wait} s (its release is {release.status or 'missing'}); raise wait, "
                f"or fix what its job says:\n{said}"
            )
        # Kubernetes deletes the pod with its log as soon as the job has failed.
        said = _helm_log(_logs(server, _job_name(app.name), SYSTEM), said)
        time.sleep(1)
    if outcome == "failed":
        raise StepFailed(f"Helm failed:\n{said or '    its log is gone; run this again'}")


def _helm_log(said: str, before: str) -> str:
    """Return the log of Helm's last try; a try that only says that the release has failed does not count."""
    return before if not said or "waiting for operator intervention" in said else said


def _job_name(name: str) -> str:
    return f"helm-install-{name}"


def _job(server: str, name: str) -> Json | None:
    return _object(server, "job", _job_name(name), SYSTEM)


def _object(server: str, kind: str, name: str, namespace: str) -> Json | None:
    words = ("get", kind, name, f"--namespace={namespace}", "--ignore-not-found", "--output=json")
    text = _ask(server, f"reading {kind} {name} failed", *words)
    return dict(json.loads(text)) if text.strip() else None


def _release(server: str, app: ClusterApp) -> Release:
    selector = f"--selector=owner=helm,name={app.name}"
    words = ("get", "secrets", f"--namespace={app.namespace}", selector, f"--output={RELEASE}")
    return apps.parse_helm_release(_ask(server, "reading the Helm release failed", *words).splitlines())


def _logs(server: str, job: str, namespace: str) -> str:
    words = ("logs", f"job/{job}", f"--namespace={namespace}", "--tail=15")
    ok, output = cluster.run_kubectl(server, *words, seconds=ANSWER_TIMEOUT)
    return "\n".join(f"    {line}" for line in output if ok)


def _smoke(server: str, app: ClusterApp) -> None:
    """Run an app's smoke test. A Job cannot change, so an old one is deleted first. A failed one stays for a day."""
    if not app.spec["smoke"]:
        return
    job = apps.smoke_job(app.name, app.spec)
    name, seconds = job["metadata"]["name"], job["spec"]["activeDeadlineSeconds"]
    delete = ("delete", "job", name, f"--namespace={app.namespace}", "--ignore-not-found")
    _ask(server, "deleting the last smoke test failed", *delete, seconds=60)
    arguments = ("apply", *SERVER_SIDE, f"--namespace={app.namespace}", "--filename=-")
    _ask(server, "starting the smoke test failed", *arguments, seconds=60, stdin=_list([job]))
    end = time.monotonic() + seconds + 30
    while not (ended := apps.job_end(_object(server, "job", name, app.namespace))) and time.monotonic() < end:
        time.sleep(1)
    if ended != "Complete":
        raise StepFailed(
            f"the smoke test {ended or f'has not finished after {seconds} s'}:\n{_logs(server, name, app.namespace)}"
        )
    _ask(server, "deleting the smoke test failed", *delete, seconds=60)


def _keep(server: str, name: str, record: AppRecord) -> None:
    arguments = ("apply", *SERVER_SIDE, f"--namespace={SYSTEM}", "--filename=-")
    _ask(server, "writing its record failed", *arguments, seconds=60, stdin=_list([record.as_object(name)]))


def _delete_old_secrets(server: str, app: ClusterApp) -> None:
    """Delete the values of earlier versions."""
    words = ("get", "secrets", f"--namespace={SYSTEM}", f"--selector={APP_LABEL}={app.name}", "--output=name")
    found = _ask(server, "reading the secrets of earlier versions failed", *words).split()
    kept = {f"secret/{each['metadata']['name']}" for each in app.secrets} if app.spec["chart"] else set()
    if old := sorted(set(found) - kept):
        _ask(server, "deleting the secrets of earlier versions failed", "delete", *old, *_IN_SYSTEM)


@operation()
def remove_app(app: str, record: AppRecord, servers: Sequence[str]) -> Steps:
    """Uninstall an app; its record goes last, so that an interrupted run can go on."""
    yield FunctionCommand(_remove_app, (app, record, servers), {})


def _remove_app(state: State, host: Host, name: str, record: AppRecord, servers: Sequence[str]) -> bool:
    return cluster.log_failure(host, lambda: _remove_or_fail(name, record, servers))


def _remove_or_fail(name: str, record: AppRecord, servers: Sequence[str]) -> None:
    server, last = _server(servers), record.last
    failure, limit = f"removing app {name} failed", REMOVE_TIMEOUT
    delete, timeout = ("delete", "--ignore-not-found"), f"--timeout={limit}s"
    if last and last["chart"]:
        chart = (*delete, HELM_CHARTS, name, f"--namespace={SYSTEM}", timeout)
        _ask(server, failure, *chart, seconds=limit + ANSWER_TIMEOUT)
        _check_uninstalled(server, name, last["namespace"])
    elif last:
        words = (*delete, f"--namespace={last['namespace']}", "--filename=-", timeout)
        _ask(server, failure, *words, seconds=limit + ANSWER_TIMEOUT, stdin=_list(apps.removed_objects(record)))
    secrets = ("get", "secrets", f"--namespace={SYSTEM}", f"--selector={APP_LABEL}={name}", "--output=name")
    for each in (*_ask(server, failure, *secrets).split(), f"configmap/groundcrew-app-{name}"):
        _ask(server, failure, "delete", each, *_IN_SYSTEM)


def _check_uninstalled(server: str, name: str, namespace: str) -> None:
    """Raise StepFailed if the release is still there: the job of K3s ends well even if Helm could not uninstall it."""
    words = ("get", "secrets", f"--namespace={namespace}", f"--selector=owner=helm,name={name}", "--output=name")
    if _ask(server, "reading the Helm release failed", *words).strip():
        raise StepFailed(
            f"app {name}: Helm could not uninstall it; run helm uninstall {name} --namespace {namespace}, then run "
            "this again"
        )


def say_unlisted(names: Sequence[str]) -> None:
    """Say which apps group data no longer names, and that they stay."""
    if names:
        log_message(
            host,
            f"apps does not list {', '.join(names)}, which groundcrew once deployed. Nothing is removed; to remove an "
            f"app: --data remove={names[0]}",
        )


def say_changes(app: ClusterApp, changes: Sequence[str]) -> None:
    """Say what deploying an app changes."""
    log_message(
        host, "\n".join([f"app {app.name} in namespace {app.namespace}:", *(f"    {each}" for each in changes)])
    )


def removal_note(record: AppRecord) -> str:
    """Return what a removal leaves in the cluster."""
    last: Mapping[str, Any] = record.last or {"namespace": "of the app"}
    return (
        f"namespace {last['namespace']}, the volumes of StatefulSets and custom resource definitions stay; volumes "
        "that the app declares itself go, with their data"
    )
