"""crew cost and crew run cost, called from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.run.documents import utc_now
from tests.parts.bills import Account
from tests.parts.crew import Repository
from tests.parts.explorer import FORECAST, USAGE, Explorer, pages_of
from tests.parts.listeners import mail_server, web_hook

COST = "[cost]\nbudget = 30000\n"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path)
    repository.environment(text=COST, encrypt=False)
    return repository


def test_a_month_as_text(repository: Repository, cost_explorer: Explorer) -> None:
    cost_explorer.queue(pages_of(Account().bill(utc_now())))
    result = repository.crew("cost", "staging")
    assert result.code == 0, result
    lines = result.out.splitlines()
    assert lines[0].startswith("staging: ")
    assert " USD spent of 30,000.00 (" in lines[0]
    assert "forecast" in lines[0]
    assert any(line.split()[:2] == ["Amazon", "EC2"] for line in lines)
    assert "3 pages queried, about 0.03 USD" in result.out
    again = repository.crew("cost", "staging")
    assert " pages queried" not in again.out
    assert "as of " in again.out
    assert cost_explorer.actions == [USAGE, USAGE, FORECAST]


def test_json_output_and_refresh(repository: Repository, cost_explorer: Explorer) -> None:
    cost_explorer.queue(pages_of(Account(daily="7").bill(utc_now())))
    output = repository.crew("cost", "staging", "--json").json
    assert (output["format"], output["environment"], output["fresh"], output["budget"]) == (1, "staging", True, 30000)
    assert output["spent"] == 7 * utc_now().day
    assert {service["name"] for service in output["services"]} == {"Amazon EC2", "Amazon RDS", "Amazon S3"}
    assert not repository.crew("cost", "staging", "--json").json["fresh"]
    assert repository.crew("cost", "staging", "--json", "--refresh").json["fresh"]


def test_an_exceeded_budget_is_a_finding(repository: Repository, cost_explorer: Explorer) -> None:
    repository.environment(text="[cost]\nbudget = 0.5\n", encrypt=False)
    cost_explorer.queue(pages_of(Account().bill(utc_now())))
    result = repository.crew("cost", "staging")
    assert result.code == 2
    assert "  the budget is spent" in result.out
    assert repository.crew("run", "cost", "staging").code == 2
    assert repository.crew("run", "cost", "staging", "--scheduled").code == 0


def test_without_a_budget_the_error_says_what_to_add(repository: Repository) -> None:
    repository.environment(encrypt=False)
    result = repository.crew("cost", "staging")
    assert result.code == 78
    assert "there is no [cost]" in result.err
    assert "Nothing to run" in repository.crew("run", "cost", "staging").out


def test_a_missing_permission_is_named(
    repository: Repository, cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost_explorer.errors = {USAGE: [(400, "AccessDeniedException", "User: crew is not authorized")]}
    result = repository.crew("cost", "staging")
    assert result.code == 1
    assert "allow ce:GetCostAndUsage on * in its IAM policy" in result.err


def test_throttled_requests_are_retried(
    repository: Repository, cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    cost_explorer.errors = {FORECAST: [(400, "ThrottlingException", "Rate exceeded")] * 2}
    assert repository.crew("run", "cost", "staging").code == 0
    assert cost_explorer.actions == [USAGE, FORECAST, FORECAST, FORECAST]


def test_an_alert_arrives_by_web_hook_and_by_mail(repository: Repository, cost_explorer: Explorer) -> None:
    with web_hook() as hook, mail_server() as mail:
        mailto = f"mailto://127.0.0.1:{mail.port}/?from=crew@acme.example&to=ops@acme.example&mode=insecure"
        to = json.dumps([f"json://127.0.0.1:{hook.port}/cost", mailto])
        repository.environment(text=f"[cost]\nbudget = 0.5\n[alerts]\nto = {to}\n", encrypt=False)
        cost_explorer.queue(pages_of(Account().bill(utc_now())))
        for _ in range(2):
            assert repository.crew("run", "cost", "staging").code == 2
    ((path, body),) = hook.requests
    message = json.loads(body)
    assert path == "/cost"
    assert message["title"] == "staging: the budget is spent"
    for word in (" USD spent of 0.50 (", "; forecast ", "Amazon EC2 ", "https://console.aws.amazon.com/"):
        assert word in message["message"]
    assert len(mail.mails) == 1
    assert "staging: the budget is spent" in mail.mails[0]


def test_a_dry_run_makes_no_request(repository: Repository, cost_explorer: Explorer) -> None:
    result = repository.crew("run", "cost", "staging", "--dry-run")
    assert "would query Cost Explorer: usually two or three pages, and 1 for each service that grew" in result.out
    assert cost_explorer.actions == []
