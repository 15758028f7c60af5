"""Thirty months with a run a day against moto: the alerts are exactly those listed here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.cost import aws
from jobs.cost.job import COST
from jobs.run import Options, run_job
from jobs.run.job import Outcome
from tests.parts.bills import Account
from tests.parts.explorer import Explorer, pages_of
from tests.parts.listeners import web_hook
from tests.parts.runs import environment, store_in

BUDGET = "\n[cost]\nbudget = 330\n"
HALF, MOST, ALL = "50 % of the budget is spent", "80 % of the budget is spent", "the budget is spent"
ALL_SERVICES = "Amazon EC2, Amazon RDS, Amazon S3"
GREW = "; ".join(
    f"Amazon {service} grew by {amount} USD since Fri Mar 20"
    for service, amount in (("EC2", "15.00"), ("RDS", "9.00"), ("S3", "6.00"))
)
EXCEEDS, UNDER = "the forecast exceeds the budget", "the forecast is back under the budget"


def steady(*months: str) -> list[tuple[str, str]]:
    """Return the alerts of 10 USD a day with a budget of 330: 50 % on the 17th, 80 % on the 27th of any month."""
    return [(f"{month}-{day}", text) for month in months for day, text in (("17", HALF), ("27", MOST))]


@dataclass(frozen=True)
class Script:
    """Months of an account, and the expected alerts."""

    name: str
    first: str
    last: str
    account: Account
    alerts: Sequence[tuple[str, str]]
    at: time = time(9)
    page: int = 99  # days


QUICK = Script(
    "a spike within five weeks",
    "2026-03-01", "2026-04-04",
    Account(odd={"2026-03-10": "110"}),
    [
        ("2026-03-10", f"{HALF}; Mar 10 cost 110.00 USD, usually 10.00 ({ALL_SERVICES})"),
        ("2026-03-11", EXCEEDS),
        ("2026-03-17", MOST),
        ("2026-03-23", ALL),
    ],
)  # fmt: skip
"""The only script in `make test`."""
SCRIPTS = [
    Script(
        "steady, with a leap year's February",
        "2023-12-01", "2024-05-31",
        Account(),
        steady("2023-12", "2024-01", "2024-02", "2024-03", "2024-04", "2024-05"),
        page=40,
    ),
    Script(
        "a spike and the next month",
        "2026-02-01", "2026-05-31",
        Account(odd={"2026-03-10": "110"}),
        [
            *steady("2026-02"),
            ("2026-03-10", f"{HALF}; Mar 10 cost 110.00 USD, usually 10.00 ({ALL_SERVICES})"),
            ("2026-03-11", EXCEEDS),
            ("2026-03-17", MOST),
            ("2026-03-23", ALL),
            *steady("2026-04", "2026-05"),
        ],
    ),
    Script(
        "credits and fees, at half past midnight in Berlin",
        "2026-06-01", "2026-10-31",
        Account(
            credits={"2026-07-05": "-300", "2026-09-30": "-20"},
            fees={f"2026-{month:02}-01": "10" for month in range(1, 13)},
        ),
        [
            (f"2026-{month}-{day}", words)
            for month in ("06", "07", "08", "09", "10")
            for day, words in (("16", HALF), ("26", MOST))
        ],
        at=time(22, 30),
    ),
    Script(
        "a new account",
        "2025-01-01", "2025-05-31",
        Account(since="2025-01-20", young_until="2025-03-01"),
        steady("2025-02", "2025-03", "2025-04", "2025-05"),
    ),
    Script(
        "a forecast that comes and goes",
        "2026-06-01", "2026-10-31",
        Account(rates={"2026-07-10": "15", "2026-07-11": "15", "2026-07-13": "15", "2026-08-31": "99"}),
        [
            *steady("2026-06"),
            ("2026-07-10", EXCEEDS),
            ("2026-07-12", UNDER),
            *steady("2026-07", "2026-08"),
            ("2026-08-31", EXCEEDS),
            *steady("2026-09", "2026-10"),
        ],
    ),
    Script(
        "a lasting increase is one event",
        "2026-01-01", "2026-05-31",
        Account(odd={str(date(2026, 3, 20) + timedelta(days=number)): "20" for number in range(80)}),
        [
            *steady("2026-01", "2026-02"),
            ("2026-03-17", HALF),
            ("2026-03-20", f"Mar 20 cost 20.00 USD, usually 10.00 ({ALL_SERVICES})"),
            ("2026-03-22", EXCEEDS),
            ("2026-03-23", f"{MOST}; {GREW}"),
            ("2026-03-26", ALL),
            ("2026-04-04", EXCEEDS),
            *[(f"2026-04-{day}", words) for day, words in (("09", HALF), ("14", MOST), ("17", ALL))],
            ("2026-05-03", EXCEEDS),
            *[(f"2026-05-{day}", words) for day, words in (("09", HALF), ("14", MOST), ("17", ALL))],
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(QUICK, id=QUICK.name),
        *(pytest.param(script, id=script.name, marks=pytest.mark.long) for script in SCRIPTS),
    ],
)
def test_a_run_a_day(script: Script, cost_explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alerts: list[tuple[str, str]] = []
    with web_hook() as hook:
        env = environment((f"json://127.0.0.1:{hook.port}/",), more=BUDGET)
        assert env.cost
        client = aws._explorer(env, env.cost)
        monkeypatch.setattr(aws, "_explorer", lambda *_: client)  # creating a client takes longer than a run
        store = store_in(tmp_path)
        for moment in days(script):
            cost_explorer.queue(pages_of(script.account.bill(moment), script.page))
            cost_explorer.daily = script.account.rate(moment.date())
            (record,) = run_job(COST, env, store, Options(), now=lambda moment=moment: moment)
            assert record.outcome in {Outcome.DONE, Outcome.FINDING}, record.sentence
            alerts += [(str(moment.date()), _title(body)) for _, body in hook.requests]
            hook.requests.clear()
    assert alerts == list(script.alerts)


def days(script: Script) -> list[datetime]:
    first, last = date.fromisoformat(script.first), date.fromisoformat(script.last)
    return [
        datetime.combine(first + timedelta(days=number), script.at, UTC) for number in range((last - first).days + 1)
    ]


def _title(body: str) -> str:
    message: dict[str, Any] = json.loads(body)
    return str(message["title"]).removeprefix("staging: ")


def test_there_are_thirty_months() -> None:
    months = {(script.name, day.year, day.month) for script in SCRIPTS for day in days(script)}
    assert len(months) == 30
