"""Which apps have passed in another environment, and the command that keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploys.lib.k3s import app_promotion, apps
from deploys.lib.preflight import DeployError
from tests.parts.store import write_environment
from tests.unit.deploys.lib.k3s.test_apps import CHART, ROOT, WEB

IMAGE = {
    "spec": {"template": {"spec": {"containers": [{"image": "web:2"}], "initContainers": [{"image": "busybox:1"}]}}}
}


def app(**changed: Any) -> apps.ClusterApp:
    return apps.app_of({**CHART, **changed}, ROOT)


def recorded(given: apps.ClusterApp, **changed: Any) -> dict[str, dict[str, Any]]:
    return {given.name: {**app_promotion.app_facts(given), "unproven": False, **changed}}


def test_a_chart_or_the_images_must_be_the_same() -> None:
    assert app_promotion.app_source(app().spec) == ["https://charts.acme.example shop 1.2.0"]
    manifests = {"name": "web", "namespace": "web", "manifests": [{**WEB, **IMAGE}]}
    assert app_promotion.app_source(apps.app_of(manifests, ROOT).spec) == ["busybox:1", "web:2"]


def test_only_what_passed_there_is_deployed() -> None:
    def faults(known: dict[str, dict[str, Any]], *allowed: str) -> list[str]:
        return list(app_promotion.unproven_faults([app()], known, "staging", allowed))

    assert faults(recorded(app(values={"replicas": 1}))) == [], "values may differ"
    assert faults({}, "shop") == []
    assert "it is not recorded there; deploy it there first, with apps_record = True" in faults({})[0]
    [fault] = faults(recorded(app(version="1.1.0")))
    assert "has not passed in staging: there it is https://charts.acme.example shop 1.1.0" in fault
    assert "--data unproven=shop" in fault
    assert faults(recorded(app(), unproven=True)) != [], "an app that skipped its tests proves nothing"


def test_a_record_of_other_values_is_written_again() -> None:
    assert app_promotion.is_recorded(app(), recorded(app()))
    assert not app_promotion.is_recorded(app(values={"replicas": 1}), recorded(app()))
    assert not app_promotion.is_recorded(app(), {})


def test_the_records_come_from_crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREW_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_environment(tmp_path, "staging")
    assert app_promotion.read_recorded("staging") == {}
    with pytest.raises(DeployError, match="crew apps other failed"):
        app_promotion.read_recorded("other")
