"""deploys/k3s_apps.py on a booted host: a chart and manifests, an upgrade that fails its smoke test, a removal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploys.lib.k3s import app_steps
from tests.lab import k3s
from tests.lab.lab import Lab
from tests.lab.pyinfra import PyinfraRun
from tests.parts.store import write_environment

PASSWORD, STATE = "correct-horse-battery", "/var/lib/rancher/k3s/server/db/etcd/state.json"
WEB: dict[str, Any] = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
KEY = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "web"},
    "stringData": {"password": {"secret": {"command": ["echo", PASSWORD]}}},
}


def chart(version: str = "1.0.0", smoke: str = "true", **values: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "namespace": "shop",
        "chart": "shop",
        "repo": "https://charts.acme.example",
        "version": version,
        "values": {"db": {"password": {"secret": {"command": ["echo", PASSWORD]}}}, **values},
        "ready": ["deployment/shop"],
        "smoke": {"image": "busybox", "command": ["sh", "-c", smoke]},
        "wait": 15,
    }


def web(**annotations: str) -> dict[str, Any]:
    manifests = [{**WEB, "metadata": {"name": "web", "annotations": annotations}}, KEY]
    return {"name": "web", "namespace": "web", "manifests": manifests, "wait": 3}


def release(lab: Lab, name: str) -> str:
    words = f'get secrets --namespace={name} --selector=owner=helm,name={name} "--output={app_steps.RELEASE}"'
    return re.sub(" [0-9a-f]+$", "", k3s.kubectl(lab, words))


def objects(lab: Lab) -> dict[str, Any]:
    return dict(json.loads(lab.ask(lab.hosts[0], f"cat {STATE}"))["objects"])


def recorded() -> dict[str, Any]:
    crew = Path(sys.executable).with_name("crew")
    done = subprocess.run([crew, "apps", "staging", "--json"], capture_output=True, text=True, check=True)
    return {each["name"]: each for each in json.loads(done.stdout)["apps"]}


def upgrades_that_fail(lab: Lab, run: Callable[..., PyinfraRun]) -> None:
    """Upgrade to releases that fail: at their smoke test, in Helm, and because they are never ready."""
    smoke = run(apps=[chart("1.1.0", "echo no shop; false"), web()])
    assert smoke.code == 1
    assert "the smoke test failed:" in smoke.text
    assert "no shop" in smoke.text
    assert "1.0.0 runs again. Not brought back: data" in smoke.text
    assert release(lab, "shop") == "3 deployed"

    broken = run(apps=[chart("1.2.0", standin="broken"), web()])
    assert broken.code == 1
    assert "UPGRADE FAILED: broken" in broken.text
    assert release(lab, "shop") == "5 deployed", "Helm leaves a failed release alone, unless the policy is retry"
    stuck = run(apps=[chart(), web(**{"standin/never-ready": "1"})])
    assert stuck.code == 1
    assert "deployment/web is not ready after 3 s" in stuck.text


@pytest.mark.long
def test_apps_start_upgrade_go_back_and_go(
    fresh: Callable[..., Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = fresh()
    monkeypatch.setenv("CREW_ROOT", str(tmp_path))
    write_environment(tmp_path, "staging")

    def run(*arguments: str, of: str = "k3s_apps", **data: Any) -> PyinfraRun:
        result = k3s.run(lab, *arguments, of=of, servers=1, **data)
        assert PASSWORD not in result.text
        return result

    cluster = run(of="k3s", k3s_version=k3s.VERSION)
    assert cluster.code == 0, cluster.text
    dry = run("--dry", "-vvv", apps=[chart(), web()])
    assert dry.code == 0, dry.text
    assert re.search("app shop in namespace shop:\n +install 1.0.0", dry.text), dry.text
    assert "HelmChart/kube-system/shop" not in objects(lab)

    with lab.process_list(lab.hosts[0]) as seen:
        first = run("-vvv", "--diff", apps=[chart(), web()], apps_record=True)
    assert first.code == 0, first.text
    assert [line for line in seen if PASSWORD in line] == []
    assert release(lab, "shop") == "1 deployed"
    kept = objects(lab)
    assert PASSWORD not in json.dumps({key: each for key, each in kept.items() if not key.startswith("Secret/")})
    assert kept["HelmChart/kube-system/shop"]["object"]["spec"]["failurePolicy"] == "abort"
    again = run(apps=[chart(), web()], apps_record=True)
    assert (again.code, again.changes) == (0, 0), again.text
    assert objects(lab) == kept
    shop = recorded()["shop"]
    assert shop["source"] == ["https://charts.acme.example shop 1.0.0"]
    assert shop["images"][0].startswith("docker.io/library/shop@sha256:")

    upgrades_that_fail(lab, run)
    proven = {"apps_record": True, "apps_proven_in": "staging"}
    refused = run(apps=[chart("1.2.0"), web()], **proven)
    assert refused.code == 1
    assert "has not passed in staging: there it is https://charts.acme.example shop 1.0.0" in refused.text
    repaired = run("--data", "unproven=shop", apps=[chart("1.2.0"), web()], **proven)
    assert (repaired.code, release(lab, "shop")) == (0, "6 deployed"), repaired.text
    assert len([key for key in objects(lab) if key.startswith("Secret/kube-system/shop-values-")]) == 1

    assert recorded()["shop"]["unproven"] is True
    removed = run("--data", "remove=shop", apps=[], **proven)
    assert (removed.code, release(lab, "shop")) == (0, ""), removed.text
    assert recorded().keys() == {"web"}
    assert "apps does not list web" in removed.text
    assert "Deployment/web/web" in objects(lab)
    last = run("--data", "remove=web", apps=[])
    assert last.code == 0, last.text
    left = {key for key in objects(lab) if re.search("shop|web", key)}
    assert left == {"Namespace//shop", "Namespace//web"}


@pytest.mark.long
def test_debian_13_works(fresh: Callable[..., Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = fresh(debian=13)
    monkeypatch.setenv("CREW_ROOT", str(tmp_path))
    write_environment(tmp_path, "staging")
    cluster = k3s.run(lab, servers=1)
    assert cluster.code == 0, cluster.text
    first = k3s.run(lab, of="k3s_apps", servers=1, apps=[web()])
    assert first.code == 0, first.text
    assert "Deployment/web/web" in objects(lab)
    again = k3s.run(lab, of="k3s_apps", servers=1, apps=[web()])
    assert (again.code, again.changes) == (0, 0), again.text
