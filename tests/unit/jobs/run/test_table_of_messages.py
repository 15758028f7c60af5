"""The table of all messages in docs/watching.md: each subject line and type, as the code writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inventories import Cost, Environment
from jobs.backup.take.job import with_other_server, with_shrinkage
from jobs.cost.bill import Commitments
from jobs.cost.growth import Cause, Growth
from jobs.cost.notices import cost_notice
from jobs.cost.report import report_on
from jobs.cost.shares import OwnerSpending, StackSpending, Untagged
from jobs.run import Notice, Options, Outcome, Record, Result, run_job, unusable_store
from jobs.run.alerts import AlertReason, alert_message
from jobs.run.delivery import Message, combine
from jobs.run.job import Severity
from jobs.run.notices import NoticeState, with_notice
from jobs.status.collect import EnvironmentStatus
from jobs.status.digest import WeekOfBackups, report_title
from jobs.status.health import Health, HealthState
from tests.parts.bills import Account, at
from tests.parts.runs import done, environment, job, store_in

TABLE = (Path(__file__).parents[4] / "docs" / "watching.md").read_text()
ROWS = {title: kind for kind, title in re.findall(r"^\| .+ \| ([a-z ]+) \| `(production: .+)` \|$", TABLE, re.M)}
NOW = datetime(2026, 11, 15, 9, tzinfo=UTC)
FULL = "the disk is full; make room"
ONE, TWO = "1 changed: aws_security_group.db", "2 changed: aws_security_group.db, aws_vpc.main"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    (record,) = run_job(job(done), environment(), store_in(tmp_path_factory.mktemp("store")), Options())
    return replace(record, environment="production")


def alerts_in_the_table(record: Record, env: Environment) -> Iterator[Message]:
    failed = replace(record, outcome=Outcome.FAILED, sentence=FULL)
    drift = replace(record, job="drift", subject="network", outcome=Outcome.FINDING, sentence=ONE)
    for one, reason in (
        (failed, AlertReason.FAILING),
        (failed, AlertReason.REMINDER),
        (record, AlertReason.RECOVERED),
        (drift, AlertReason.FOUND),
        (replace(drift, sentence=TWO), AlertReason.CHANGED),
        (drift, AlertReason.REMINDER),
        (replace(drift, outcome=Outcome.DONE), AlertReason.GONE),
    ):
        yield alert_message(one, reason, NOW, env)


def notices_in_the_table() -> Iterator[Notice]:
    run: Any = type("Run", (), {"subject": "shop", "environment": environment()})
    shrunk = with_shrinkage(run, Result(Outcome.DONE, "", {"set": "x"}), "12 rows, not 400").notice
    moved = with_other_server(run, Result(Outcome.DONE, "", {"set": "x"})).notice
    assert shrunk
    assert moved
    yield from (shrunk, moved)
    settings = Cost(budget=300, thresholds=(80,))
    calm, since = report_on(Account("16").bill(at("2026-11-15")), settings), at("2026-11-12").date()
    yield cost_notice(replace(calm, forecast=None), settings, (), since)
    yield cost_notice(replace(calm, spent=calm.budget / 2), settings, (), since)
    known = ["2026-11 spent 80"]
    yield cost_notice(replace(calm, spent=calm.budget / 2, forecast=None), settings, known, since)
    odd = report_on(Account("10", odd={"2026-11-15": "87"}).bill(at("2026-11-15")), Cost(budget=3000))
    yield cost_notice(odd, settings, (), since)
    calm = replace(calm, forecast=None)
    grown = Growth("Amazon RDS", date(2026, 11, 9), Decimal(41), (Cause("db.r6g.large", True, "data"),))
    owners = (OwnerSpending("data", Decimal(9)),)
    yield cost_notice(replace(calm, growths=(grown,), owners=owners), settings, known, since)
    network = StackSpending("network", Decimal(160), Decimal(200))
    yield cost_notice(replace(calm, stacks=(network,)), settings, known, since)
    back = replace(network, spent=Decimal(150))
    yield cost_notice(replace(calm, stacks=(back,)), settings, [*known, "2026-11 stack network 80"], since)
    bare = Untagged("Owner", Decimal(41), Decimal(14), ("Amazon RDS",))
    yield cost_notice(replace(calm, untagged=(bare,)), settings, known, since)
    unused = Commitments(Decimal(280), Decimal(34))
    yield cost_notice(replace(calm, commitments=unused), replace(settings, commitments=90), known, since)


def test_the_table_has_every_message(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Message] = []
    monkeypatch.setattr(unusable_store, "send_by_apprise", lambda _address, message: sent.append(message) or True)
    env = environment(("json://a",))
    unusable_store.report_unusable_store(replace(env, environment=replace(env.environment, name="production")),
                                         "backup", "the store has no mark")  # fmt: skip
    found = [*alerts_in_the_table(record, env), *sent]
    for notice in notices_in_the_table():
        (undelivered,) = with_notice(NoticeState(), notice, "production", ["a"]).undelivered
        found.append(undelivered.message)
    week = WeekOfBackups(14, 98, 0, 14, ())
    problems = (Health("backup", "shop", HealthState.FAILED, None, "", None),) * 2
    report = Notice(
        ("digest",), report_title(week, EnvironmentStatus("production", UTC, health=problems)), "", Severity.INFO
    )
    found.append(with_notice(NoticeState(), report, "production", ["a"]).undelivered[0].message)
    for message in found:
        assert ROWS.pop(message.title) == message.severity
    worst = combine([*(Message("production: a", "", Severity.FAILURE),) * 2, Message("production: b", "")])
    assert ROWS.pop(worst.title) == "the worst of them"
    assert ROWS == {
        "production: a run was killed or crashed": Severity.FAILURE,
        "production: test alert": Severity.INFO,
    }
