"""The alert rules according to promtool: they are valid, fire when they should, and stay silent otherwise."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobs.monitoring import rules
from jobs.monitoring.dashboard import PANELS
from jobs.run.job import Outcome
from jobs.run.latest import NO_RUNS, RunSummary
from jobs.run.metrics import EVIDENCE_GAP, FIGURE, LAST_RUN, LAST_SUCCESS, OUTCOME, PERIOD
from tests.parts.needs import needs

pytestmark = needs("promtool")


def series(metric: str, job: str, values: str, subject: str = "shop", **more: str) -> dict[str, str]:
    """Return a series as node_exporter exposes it, with Prometheus's own label job beside ours."""
    labels = {"environment": "production", "crew_job": job, "subject": subject, "job": "node", **more}
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"{metric}{{{text}}}", "values": values}


def always(value: float) -> str:
    return f"{value:g}x5000"


def healthy() -> list[dict[str, str]]:
    """Return series of jobs that run successfully every hour at minute 0, with a sample each minute."""
    hourly = " ".join(f"{hour * 3600}x59" for hour in range(48))
    of_each = [
        one
        for job in ("backup", "verify", "drift", "cost")
        for one in (
            series(LAST_RUN.name, job, hourly),
            series(LAST_SUCCESS.name, job, hourly),
            series(PERIOD.name, job, always(3600)),
            series(OUTCOME.name, job, always(0)),
        )
    ]
    figures = [
        series(FIGURE.name, "cost", always(value), figure=name)
        for name, value in (("spent_percent", 99), ("forecast_percent", 99))
    ]
    return [*of_each, *figures]


def but(*changed: dict[str, str]) -> list[dict[str, str]]:
    """Return the healthy series with these changed; empty values remove a series."""
    names = {one["series"] for one in changed}
    return [one for one in healthy() if one["series"] not in names] + [one for one in changed if one["values"]]


def rule(name: str) -> str:
    return f"Groundcrew{name}"


def archive(metric: str, values: str, prefix: str = "groundcrew_pitr", **more: str) -> dict[str, str]:
    """Return a series of a PostgreSQL host."""
    labels = {"instance": "db-1:9100", **more}
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"{prefix}_{metric}{{{text}}}", "values": values}


replication = partial(archive, prefix=rules.REPLICATION)


BEFORE = [0, 9, *range(10, 2162)]
"""Hours of backups: a gap of 9 hours, and then one each hour for 90 days."""


def gap_after(hours: list[int]) -> float:
    """Return the value of the metric after backups at these hours."""
    runs = NO_RUNS
    for hour in hours:
        at = datetime.fromtimestamp(hour * 3600, UTC)
        runs = runs.with_run(RunSummary(str(hour), at, at, Outcome.DONE, ""), {"seconds": 1}, "backup")
    assert runs.longest_gap is not None
    return runs.longest_gap


CASES: list[tuple[str, list[dict[str, str]], str, set[str]]] = [
    ("healthy", healthy(), "30h", set()),
    ("a backup is late", but(series(LAST_SUCCESS.name, "backup", always(0))), "1h30m", set()),
    ("a backup is overdue", but(series(LAST_SUCCESS.name, "backup", always(0))), "1h36m", {"BackupOverdue"}),
    ("a verification is overdue", but(series(LAST_SUCCESS.name, "verify", always(0))), "2h", {"VerificationOverdue"}),
    ("evidence has a gap for a week", but(series(EVIDENCE_GAP.name, "backup", "3600x99 90000x5000")), "12h",
     {"EvidenceGap"}),
    ("the gap is short", but(series(EVIDENCE_GAP.name, "backup", "3600x99 5000x5000")), "12h", set()),
    ("the gap ends when a longer one leaves the metric", but(
        series(EVIDENCE_GAP.name, "backup", f"{gap_after(BEFORE):g}x199 {gap_after([*BEFORE, 2164]):g}x5000")), "12h",
        {"EvidenceGap"}),
    ("the only run after the gap was a week ago", but(*(
        series(metric.name, "backup", f"{value}x12000", "monthly")
        for metric, value in ((LAST_RUN, 0), (LAST_SUCCESS, 0), (PERIOD, 30 * 86400), (EVIDENCE_GAP, 90 * 86400)))),
        "169h", set()),
    ("the gap still lasts", but(series(EVIDENCE_GAP.name, "verify", "3600x99 90000x5000"),
        series(LAST_SUCCESS.name, "verify", always(0))), "12h", {"VerificationOverdue"}),
    ("a copy is overdue", [*healthy(), series(LAST_SUCCESS.name, "copy", always(0), "offsite.shop"),
        series(PERIOD.name, "copy", always(3600), "offsite.shop")], "2h", {"CopyOverdue"}),
    ("a set could not be copied", [*healthy(), series(OUTCOME.name, "copy", always(2), "offsite.shop")], "10m",
     {"CopyIncomplete"}),
    ("another job is overdue", but(series(LAST_SUCCESS.name, "drift", always(0))), "2h", {"JobOverdue"}),
    ("a job without a schedule has no period", but(
        series(LAST_SUCCESS.name, "backup", always(0)), series(PERIOD.name, "backup", "")), "20h", set()),
    ("a run fails", but(series(OUTCOME.name, "refresh", always(1))), "10m", {"RunFailing"}),
    ("a verification failed", but(series(OUTCOME.name, "verify", always(2))), "10m", {"VerificationFailed"}),
    ("a backup shrank", but(series(OUTCOME.name, "backup", always(2))), "10m", {"BackupShrank"}),
    ("drift for less than a day", but(series(OUTCOME.name, "drift", always(2), "network")), "23h", set()),
    ("drift stays open for a day", but(series(OUTCOME.name, "drift", always(2), "network")), "25h", {"DriftOpen"}),
    ("hosts differ for a day", but(series(OUTCOME.name, "hosts", always(2), "k3s")), "25h", {"HostsDrifted"}),
    ("drift comes and goes", but(series(OUTCOME.name, "drift", "2x700 0x9 2x3000", "network")), "25h", set()),
    ("the budget is exceeded", but(
        series(FIGURE.name, "cost", always(100), figure="spent_percent")), "10m", {"BudgetPassed"}),
    ("the forecast exceeds the budget", but(
        series(FIGURE.name, "cost", always(120), figure="forecast_percent")), "10m", {"ForecastPassesBudget"}),
    ("no job runs",
     [series(LAST_RUN.name, "drift", always(0)), series(PERIOD.name, "drift", always(3600))], "1h50m",
     {"RunnerSilent"}),
    ("no metrics at all", [], "20m", {"NoMetrics"}),
    ("no metrics for a short time", [], "10m", set()),
    ("WAL waits for a moment", but(archive("archive_lag_seconds", "0+60x4 0x2000")), "20m", set()),
    ("the archive stops", but(archive("archive_lag_seconds", "0+60x2000")), "14m", {"ArchiveBehind"}),
    ("WAL was dropped", but(archive("archive_dropped", always(1), repository="1")), "5m", {"ArchiveDropped"}),
    ("a repository fails", but(archive("repository_ok", always(0), repository="2")), "14m", {"RepositoryFailing"}),
    ("a physical backup failed", but(
        archive("backup_failed", always(1), repository="1")), "5m", {"PhysicalBackupFailed"}),
    ("a physical backup is overdue in one repository", but(
        archive("last_backup_timestamp_seconds", always(0), repository="1", type="full"),
        archive("last_backup_timestamp_seconds", "0+60x5000", repository="1", type="incr"),
        archive("last_backup_timestamp_seconds", always(0), repository="2", type="full"),
        archive("backup_period_seconds", always(3600))), "1h40m", {"PhysicalBackupOverdue"}),
    ("the archive is not measured", but(
        archive("measured_timestamp_seconds", always(0))), "14m", {"ArchiveUnmeasured"}),
    ("a standby is behind for a moment", but(replication("lag_seconds", "0+60x8 0x2000")), "20m", set()),
    ("a standby falls behind", but(replication("lag_seconds", "0+60x2000")), "14m", {"StandbyBehind"}),
    ("a standby is away", but(replication("standby_streaming", always(0), standby="db-2")), "10m",
     {"StandbyDisconnected"}),
    ("a standby has lost WAL", but(replication("standby_wal_lost", always(1), standby="db-2")), "5m",
     {"StandbyLostWal"}),
    ("a server stays fenced", but(replication("fenced", always(1))), "2h", {"ServerFenced"}),
    ("replication is not measured", but(
        replication("measured_timestamp_seconds", always(0))), "14m", {"ReplicationUnmeasured"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def rules_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text(rules.rules_yaml())
    return path


def promtool(*args: object) -> str:
    done = subprocess.run(["promtool", *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_valid(rules_file: Path) -> None:
    assert f"{len(rules.RULES)} rules found" in promtool("check", "rules", rules_file)


def test_each_rule_fires_only_when_it_should(rules_file: Path, tmp_path: Path) -> None:
    for interval in ("1m", "5m"):
        tests = [_test(*case) for case in CASES if _evaluated_each(case[2]) == interval]
        path = tmp_path / f"tests-{interval}.yml"
        path.write_text(json.dumps({"rule_files": [str(rules_file)], "evaluation_interval": interval, "tests": tests}))
        promtool("test", "rules", path)


def _evaluated_each(at: str) -> str:
    """The interval between two evaluations, which cost most of the time: longer in a case of half a day or more."""
    return "5m" if at.endswith("h") and int(at.removesuffix("h")) >= 12 else "1m"


def _test(name: str, given: list[dict[str, str]], at: str, fires: set[str]) -> dict[str, Any]:
    """Test the firing alerts with a query, because promtool's alert tests also compare labels and annotations."""
    expected = [{"labels": f'{{alertname="{rule(one)}"}}', "value": 1} for one in sorted(fires)]
    query = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "name": name,
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [{"expr": query, "eval_time": at, "exp_samples": expected}],
    }


def test_every_rule_fires_in_a_case() -> None:
    fired = {rule(name) for _, _, _, fires in CASES for name in fires}
    assert fired == {one.name for one in rules.RULES}


def test_the_texts_name_the_environment_and_the_command(rules_file: Path, tmp_path: Path) -> None:
    annotations = {
        "summary": "production: backup of shop: no successful backup for 2h 0m 0s, more than 1.5 times its period",
        "description": "Show the runs: crew runs production backup shop",
    }
    run = {"environment": "production", "crew_job": "backup", "subject": "shop", "job": "node"}
    labels = {**run, "severity": "critical"}
    test = {
        "interval": "1m",
        "input_series": but(series(LAST_SUCCESS.name, "backup", always(0))),
        "alert_rule_test": [
            {
                "alertname": "GroundcrewBackupOverdue",
                "eval_time": "2h",
                "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
            }
        ],
    }
    path = tmp_path / "tests.yml"
    path.write_text(json.dumps({"rule_files": [str(rules_file)], "evaluation_interval": "1m", "tests": [test]}))
    promtool("test", "rules", path)


def test_the_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    queries = [expression for panel in PANELS for expression, _ in panel.queries]
    records = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$environment", ".*", query)}
        for number, query in enumerate(queries)
    ]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", path)
