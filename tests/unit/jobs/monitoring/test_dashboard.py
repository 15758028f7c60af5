"""The layout of the dashboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from jobs.monitoring import dashboard
from tests.parts.needs import needs


def test_panels_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in dashboard.dashboard()["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_json_contains_each_panel_once() -> None:
    exported = json.loads(dashboard.dashboard_json())
    assert [panel["title"] for panel in exported["panels"]] == [panel.title for panel in dashboard.PANELS]
    assert len({panel["id"] for panel in exported["panels"]}) == len(exported["panels"])


def read_by_grafana(exported: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard after Grafana's own types read and wrote it. They drop what they do not know."""
    known = import_module("grafana_foundation_sdk.models.dashboard").Dashboard.from_json(exported)
    text = import_module("grafana_foundation_sdk.cog.encoder").JSONEncoder(sort_keys=True).encode(known)
    read: dict[str, Any] = json.loads(text)
    return read


def dropped(ours: Any, read: Any, path: str = "") -> Iterator[str]:
    """Yield what is not the same after it was read."""
    if isinstance(ours, dict) and isinstance(read, dict):
        for name, value in ours.items():
            yield from dropped(value, read.get(name), f"{path}.{name}")
    elif isinstance(ours, list) and isinstance(read, list) and len(ours) == len(read):
        for number, value in enumerate(ours):
            yield from dropped(value, read[number], f"{path}.{number}")
    elif ours != read:
        yield path


@needs("package-grafana_foundation_sdk")
def test_grafana_knows_each_key_of_the_dashboard() -> None:
    ours = dashboard.dashboard()
    assert list(dropped(ours, read_by_grafana(ours))) == []
    misspelt = {**ours, "schemaversion": 39, "panels": [{**ours["panels"][0], "gridpos": {}}]}
    assert list(dropped(misspelt, read_by_grafana(misspelt))) == [".panels.0.gridpos", ".schemaversion"]
