"""Apps pass one environment before the next: what passed is recorded in the store, by `crew apps`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.k3s import cluster
from deploys.lib.k3s.apps import ClusterApp, Json
from deploys.lib.k3s.cluster import ANSWER_TIMEOUT, StepFailed
from deploys.lib.operations import Steps, on_this_machine
from deploys.lib.preflight import DeployError

CREW_TIMEOUT = 120  # seconds
IMAGES = "jsonpath={range .items[*]}{range .status.containerStatuses[*]}{.imageID}{'\\n'}{end}{end}"


def app_source(spec: Json) -> list[str]:
    """Return what must be the same in two environments: chart and version, or the images of manifests."""
    if not spec["chart"]:
        return sorted({image for each in spec["objects"] for image in _images(each)})
    [chart] = (each["spec"] for each in spec["objects"])
    return [" ".join(filter(None, (chart.get("repo"), chart["chart"], chart.get("version"))))]


def _images(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from [inner] if key == "image" and isinstance(inner, str) else _images(inner)
    elif isinstance(value, list):
        for each in value:
            yield from _images(each)


def app_facts(app: ClusterApp) -> Json:
    """Return what a record says of an app, without the images that run."""
    values = hashlib.sha256(json.dumps(app.spec["objects"], sort_keys=True).encode()).hexdigest()
    name = {"name": app.name, "namespace": app.namespace, "version": app.version}
    return {**name, "source": app_source(app.spec), "values": values}


def is_recorded(app: ClusterApp, recorded: Mapping[str, Json]) -> bool:
    """Return whether the store has this state of the app."""
    return app_facts(app).items() <= recorded.get(app.name, {}).items()


def unproven_faults(
    apps: Sequence[ClusterApp], recorded: Mapping[str, Json], environment: str, allowed: Sequence[str]
) -> Iterator[str]:
    """Yield a fault for each app that has not passed in the other environment, unless it is allowed."""
    for app in apps:
        known, wanted = recorded.get(app.name), app_source(app.spec)
        if app.name in allowed or (known and known["source"] == wanted and not known["unproven"]):
            continue
        there = f"there it is {', '.join(known['source'])}" if known else "it is not recorded there"
        yield (
            f"apps: {app.name} ({', '.join(wanted)}) has not passed in {environment}: {there}; deploy it there first, "
            f"with apps_record = True, or add --data unproven={app.name}"
        )


def read_recorded(environment: str) -> dict[str, Json]:
    """Return the records of an environment's apps by name; raise DeployError if the store does not answer."""
    try:
        return {each["name"]: each for each in run_crew(environment)["apps"]}
    except StepFailed as failure:
        raise DeployError(str(failure)) from None


def run_crew(environment: str, *arguments: str, stdin: str = "") -> Json:
    """Run `crew apps` on your machine and return its JSON; raise StepFailed if it fails."""
    command = [sys.executable, "-m", "jobs.cli", "apps", environment, "--json", *arguments]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=CREW_TIMEOUT)
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise StepFailed(f"crew apps {environment} gave no answer; run it yourself to see why") from None
    if done.returncode:
        raise StepFailed(f"crew apps {environment} failed: {answer.get('error')}")
    return dict(answer)


@operation()
@on_this_machine
def record_passed(
    apps: Sequence[ClusterApp],
    removed: Sequence[str],
    environment: str,
    unproven: Sequence[str],
    servers: Sequence[str],
) -> Steps:
    """Record apps that passed, with the images that run, and forget those that were removed."""
    yield FunctionCommand(_record, (apps, removed, environment, unproven, servers), {})


def _record(
    state: State,
    host: Host,
    apps: Sequence[ClusterApp],
    removed: Sequence[str],
    environment: str,
    unproven: Sequence[str],
    servers: Sequence[str],
) -> bool:
    return cluster.log_failure(host, lambda: _record_or_fail(apps, removed, environment, unproven, servers))


def _record_or_fail(
    apps: Sequence[ClusterApp],
    removed: Sequence[str],
    environment: str,
    unproven: Sequence[str],
    servers: Sequence[str],
) -> None:
    server = cluster.responsive_server(*servers) or servers[0]
    records = [
        {**app_facts(app), "images": _running_images(server, app.namespace), "unproven": app.name in unproven}
        for app in apps
    ]
    if records:
        run_crew(environment, "--record", stdin=json.dumps(records))
    for name in removed:
        run_crew(environment, "--forget", name)


def _running_images(server: str, namespace: str) -> list[str]:
    words = ("get", "pods", f"--namespace={namespace}", f"--output={IMAGES}")
    ok, output = cluster.repeat_kubectl(server, *words, seconds=ANSWER_TIMEOUT)
    if not ok:
        raise StepFailed(f"reading the images in namespace {namespace} failed: {'; '.join(output[-3:])}")
    return sorted({line.strip() for line in output if line.strip()})
