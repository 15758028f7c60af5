"""What the status, the list of backups and `crew check` say about a stanza."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inventories import Environment
from inventories import Repository as Files
from jobs.checks.check import CheckResult, CheckVerdict
from jobs.checks.pitr import judge_span
from jobs.cli.stanzas import ListedStanza, print_stanzas, stanza_as_json
from jobs.pitr.span import ReachableSpan
from jobs.status.collect import EnvironmentStatus
from jobs.status.health import Health, HealthState
from jobs.status.page import render_page
from jobs.status.stanzas import StanzaStatus, stanza_statuses
from tests.parts.crew import Repository

NOW = datetime(2026, 11, 30, 7, tzinfo=UTC)
FIGURES = {
    "seconds": "x",
    "recovery_seconds": 252.0,
    "recovery_point_seconds": 41.5,
    "reachable_since_timestamp_seconds": (NOW - timedelta(days=9)).timestamp(),
    "reachable_until_timestamp_seconds": (NOW - timedelta(hours=2)).timestamp(),
}
GOOD = Health("verify", "pitr.main", HealthState.OK, NOW, "", None, succeeded=NOW - timedelta(hours=2), figures=FIGURES)
SPAN = ReachableSpan(1, 15, 3, NOW - timedelta(days=9), NOW - timedelta(seconds=50), NOW - timedelta(seconds=50))


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    Repository(tmp_path).environment(text='[pitr.main]\nstanza = "main"\n[pitr.other]\nstanza = "other"\n')
    return Files.find(tmp_path).read("staging")


def test_figures_of_the_last_verification(environment: Environment) -> None:
    main, other = stanza_statuses(environment, [GOOD])
    assert (main.recovery_time, main.recovery_point) == (timedelta(seconds=252), timedelta(seconds=41.5))
    assert (main.since, main.until) == (NOW - timedelta(days=9), NOW - timedelta(hours=2))
    assert (main.verified, main.failed) == (GOOD.succeeded, False)
    assert other == StanzaStatus("other", None)
    assert (other.verified, other.since, other.recovery_time, other.failed) == (None, None, None, False)
    failed = StanzaStatus("main", replace(GOOD, state=HealthState.FINDING))
    assert (failed.verified, failed.failed) == (None, True)


def test_the_page_has_them(environment: Environment) -> None:
    status = EnvironmentStatus("staging", UTC, (GOOD,), stanzas=stanza_statuses(environment, [GOOD]))
    page = render_page([status], NOW)
    assert "Point-in-time recovery" in page
    assert '<td role=cell data-label="recovery time">4 min</td>' in page
    assert '<td role=cell data-label="recovery point">42 s</td>' in page


def test_the_list_has_them(environment: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    main, other = environment.pitr.values()
    listed = [
        ListedStanza(main, SPAN, "", StanzaStatus("main", GOOD)),
        ListedStanza(other, None, "pgBackRest is not installed on this machine", StanzaStatus("other", None)),
    ]
    print_stanzas(listed, NOW, UTC, below=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[2] == ["main", "Nov", "21", "07:00", "06:59", "3", "2", "h", "ago", "4", "min", "42", "s"]
    assert lines[3] == ["other", "unknown", "unknown", "unknown", "never", "unknown", "unknown"]
    assert " ".join(lines[4]) == "other: unknown, because: pgBackRest is not installed on this machine"
    assert stanza_as_json(listed[0])["from"] == "repository"
    fallen_back = stanza_as_json(ListedStanza(main, None, "no answer", StanzaStatus("main", GOOD)))
    assert (fallen_back["from"], fallen_back["until"]) == ("verification", "2026-11-30T05:00:00Z")


@pytest.mark.parametrize(
    ("change", "verdict", "text"),
    [
        ({}, CheckVerdict.OK, "3 backups, each moment from Nov 21 07:00 to 06:59 UTC can be restored"),
        ({"newest_wal": NOW - timedelta(days=2)}, CheckVerdict.WARN, "the newest WAL arrived 2 d ago"),
        ({"gap": "WAL segment X is missing"}, CheckVerdict.FAULT, "can be restored, but WAL segment X is missing"),
        ({"newest_wal": None}, CheckVerdict.WARN, "no WAL since its newest backup"),
        ({"other_faults": ("repository 2: gone",)}, CheckVerdict.WARN, "; repository 2: gone"),
    ],
)
def test_a_check(environment: Environment, change: dict[str, Any], verdict: CheckVerdict, text: str) -> None:
    result: CheckResult = judge_span(environment.pitr["main"], replace(SPAN, **change), NOW)
    assert result.verdict is verdict
    assert text in result.fact
