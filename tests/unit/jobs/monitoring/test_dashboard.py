"""The layout of the dashboard."""

from __future__ import annotations

import json

from jobs.monitoring import dashboard


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
