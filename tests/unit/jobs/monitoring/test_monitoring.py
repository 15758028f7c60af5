"""Rules and dashboard name what is written, and the files are what the code says."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.cost.job import figures, month_report
from jobs.monitoring import dashboard, rules
from jobs.monitoring.__main__ import FILES
from jobs.run import Options, run_job
from jobs.run.metrics import METRICS, from_text, samples_of, to_text
from tests.parts.bills import Account, at
from tests.parts.runs import done, environment, job, store_in

RULES = [(one.name, one.expression) for one in rules.RULES]
QUERIES = [(panel.title, expression) for panel in dashboard.PANELS for expression, _ in panel.queries]
METRIC, LABEL = re.compile(r"groundcrew_\w+"), re.compile(r"(\w+)=~?\"")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The metrics that a run writes, and their labels."""
    (record,) = run_job(job(done), environment(), store_in(tmp_path_factory.mktemp("store")), Options())
    found: dict[str, set[str]] = {}
    for name, labels in from_text(to_text(samples_of(record, timedelta(hours=1)))):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


def test_a_run_writes_all_metrics_there_are(written: dict[str, set[str]]) -> None:
    assert set(written) == {metric.name for metric in METRICS}


@pytest.mark.parametrize(("name", "expression"), RULES + QUERIES)
def test_each_names_what_is_written(name: str, expression: str, written: dict[str, set[str]]) -> None:
    named = set(METRIC.findall(expression))
    assert named
    assert named <= set(written)
    assert set(LABEL.findall(expression)) <= set.union(*written.values())


def test_the_figures_of_the_bill_are_those_that_are_written(tmp_path: Path) -> None:
    asked = set(re.findall(r'crew_job="cost",figure="(\w+)"', "".join(text for _, text in RULES + QUERIES)))
    env = environment(more="\n[cost]\nbudget = 300\n")
    found = month_report(env, store_in(tmp_path), at("2026-11-16"), lambda _env, now: Account().bill(now))
    assert asked == {"spent_percent", "forecast_percent", "month_gone_percent"}
    assert asked <= set(figures(found))


@pytest.mark.parametrize("path", list(FILES), ids=lambda path: path.name)
def test_the_files_are_as_the_code_says(path: Path) -> None:
    assert path.read_text() == FILES[path](), "run make monitoring"


def test_panels_do_not_lie_on_each_other() -> None:
    places = [panel["gridPos"] for panel in dashboard.dashboard()["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_grafana_gets_json_with_each_panel_once() -> None:
    told = json.loads(dashboard.dashboard_json())
    assert [panel["title"] for panel in told["panels"]] == [panel.title for panel in dashboard.PANELS]
    assert len({panel["id"] for panel in told["panels"]}) == len(told["panels"])
