"""Rules and dashboard use only metrics that runs write, and the generated files are up to date."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from deploys.lib.postgres.pitr_metrics import HELP, PREFIX
from jobs.cost.job import figures, month_report
from jobs.monitoring import dashboard, rules
from jobs.monitoring.__main__ import FILES
from jobs.run import Options, run_job
from jobs.run.latest import NO_RUNS
from jobs.run.metrics import METRICS, from_text, samples_of, to_text
from tests.parts.bills import Account, at
from tests.parts.runs import done, environment, job, store_in

RULES = [(one.name, one.expression) for one in rules.RULES]
QUERIES = [(panel.title, expression) for panel in dashboard.PANELS for expression, _ in panel.queries]
REPLICATION = (Path(dashboard.__file__).parents[2] / "deploys/lib/postgres/replication_metrics.sh").read_text()
REPLICATION_METRICS = {
    f"{rules.REPLICATION}_{name}" for name in re.findall(r"^ *(?:gauge |')(\w+)[| ]", REPLICATION, re.M)
}
METRIC, LABEL = re.compile(r"groundcrew_\w+"), re.compile(r"(\w+)=~?\"")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the metrics that a run writes, with their labels."""
    (record,) = run_job(job(done), environment(), store_in(tmp_path_factory.mktemp("store")), Options())
    found: dict[str, set[str]] = {}
    runs = NO_RUNS.with_run(record.summary, record.figures, record.job)
    for name, labels in from_text(to_text(samples_of(record, timedelta(hours=1), runs))):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


def test_a_run_writes_every_metric(written: dict[str, set[str]]) -> None:
    assert set(written) == {metric.name for metric in METRICS}


def test_the_documentation_lists_every_metric() -> None:
    page = (Path(dashboard.__file__).parents[2] / "docs/watching.md").read_text()
    assert set(re.findall(r"^\| `(groundcrew_\w+)` \|", page, re.M)) == {metric.name for metric in METRICS}


@pytest.mark.parametrize(("name", "expression"), RULES + QUERIES)
def test_each_expression_uses_existing_names(name: str, expression: str, written: dict[str, set[str]]) -> None:
    metrics = set(METRIC.findall(expression))
    assert metrics
    assert metrics <= {*written, *(f"{PREFIX}_{name}" for name in HELP), *REPLICATION_METRICS}
    assert set(LABEL.findall(expression)) <= set.union(*written.values())


def test_the_cost_figures_exist(tmp_path: Path) -> None:
    used = set(re.findall(r'crew_job="cost",figure="(\w+)"', "".join(text for _, text in RULES + QUERIES)))
    env = environment(more="\n[cost]\nbudget = 300\n")
    month = month_report(env, store_in(tmp_path), at("2026-11-16"), lambda _env, now: Account().bill(now))
    assert used == {"spent_percent", "forecast_percent", "month_gone_percent"}
    assert used <= set(figures(month))


@pytest.mark.parametrize("path", list(FILES), ids=lambda path: path.name)
def test_the_generated_files_are_up_to_date(path: Path) -> None:
    assert path.read_text() == FILES[path](), "run make monitoring"
