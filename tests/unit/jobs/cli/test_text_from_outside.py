"""No command prints control characters, bidirectional overrides or markup that come from outside."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import jobs.log
from deploys.lib.k3s.cluster import StepFailed
from deploys.lib.messages import log_message
from deploys.lib.preflight import DeployError
from inventories import CrewError
from jobs.backup.restore.compare import Difference
from jobs.backup.sets.description import TableRows, encode_description
from jobs.backup.sets.manifest import Part, PartKind, encode_manifest
from jobs.backup.sets.writing import PartWriter
from jobs.checks import Check, fault, ok
from jobs.cli import (
    alerts,
    check,
    cost,
    drift,
    exit_codes,
    output,
    prompts,
    restores,
    run,
    run_command_line,
    stack_plans,
    stacks_command,
)
from jobs.cost.report import CostReport, Service, UnusualDay
from jobs.hosts.report import ComparedHost, HostChange, HostComparison
from jobs.run.job import Notice, Outcome
from jobs.run.lease import Holder, holder_to
from jobs.run.metrics import from_text, samples_of, to_text
from jobs.run.record import Record, record_to
from jobs.status.collect import EnvironmentStatus
from jobs.status.health import Health, HealthState
from jobs.status.page import render_page
from jobs.store.directory import DirectoryStore
from terraform.drift import DriftFinding, DriftKind
from terraform.order import StackOutcome
from terraform.plan_checks import PlanCheckResult
from terraform.report import DriftReport, StackReport, as_markdown
from terraform.summary import PlanLine
from tests.unit.jobs.backup.sets.test_description import DESCRIPTION
from tests.unit.jobs.backup.sets.test_manifest import MANIFEST
from tests.unit.jobs.cli.conftest import Write, databases

ROOT = Path(__file__).parents[4]
EVIL = "[red]x[link=y]\x1b[2J\x1b[31m\x1b]0;own\x07\u202e\u2028\x85\x9b31m\ud800\r\nforged: done"
SHOWN = (
    r"[red]x[link=y]\x1b[2J\x1b[31m\x1b]0;own\x07\u202e",
    r"[red]x[link=y]\u001b[2J\u001b[31m\u001b]0;own\u0007\u202e",
)
OUR_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
NOW = datetime.now(UTC).replace(microsecond=0)

RECORD = Record(
    environment="try", job="backup", subject=EVIL, run=EVIL, tick=None, started=NOW, ended=NOW, outcome=Outcome.FAILED,
    sentence=EVIL, figures={EVIL: EVIL, "bytes": 1}, about=EVIL, attempts=1, stopped=EVIL, host=EVIL, pid=1,
    scheduled=True, took_over=EVIL, missed=None, log=(EVIL, "b"), notice=Notice((EVIL,), EVIL, EVIL),
)  # fmt: skip
REPORT = DriftReport(
    "try",
    (
        StackReport(EVIL, (DriftFinding(DriftKind.CHANGED, EVIL, EVIL, EVIL, EVIL, ignored=EVIL),)),
        StackReport("b", (DriftFinding(DriftKind.CHECK_FAILED, EVIL, "", "", EVIL),)),
        StackReport("c", error=EVIL),
    ),
)
COST = CostReport(
    NOW, EVIL, Decimal(1), Decimal(2), None, Decimal(1), Decimal(3), (Service(EVIL, Decimal(1), Decimal(1)),),
    (UnusualDay(date(2026, 11, 1), Decimal(1), Decimal(1), (EVIL,)),), (), frozenset(), EVIL,
)  # fmt: skip
HOSTS = HostComparison(
    (ComparedHost(EVIL, 1, (HostChange(EVIL, EVIL, EVIL, EVIL), HostChange(EVIL, EVIL, ignored=EVIL))),)
)
FAKE: Any = SimpleNamespace


def report_error(error: Exception) -> None:
    """Print an error as a command line does that ends with it."""
    exit_codes.exit_for_error(error, as_json=False)


def print_plan() -> None:
    """Print a plan as `crew stacks plan --full` does."""
    stack = FAKE(name=EVIL, paths=FAKE(stack="a"), recorded_by_apply=lambda _planned: [])
    command = FAKE(as_json=False, terminal=stacks_command.threading.RLock())
    planned = FAKE(plan=None, text=lambda: EVIL.replace("\n", " "))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("terraform.summary.plan_lines", lambda _plan: [PlanLine("destroy", EVIL, EVIL)])
        patch.setattr("terraform.summary.planned_counts", lambda _plan, _recorded: EVIL)
        results = [PlanCheckResult(EVIL, 1, EVIL.encode(errors="replace"))]
        stack_plans._print(command, stack, planned, results, full=True)


def print_outcomes() -> None:
    """Print the outcomes of stacks."""
    command = FAKE(environment=FAKE(name="try"), as_json=False)
    outcomes = [StackOutcome(EVIL, error=CrewError(EVIL)), StackOutcome("b", value=EVIL), StackOutcome("c", EVIL)]
    stacks_command.StacksCommand._print_outcomes(command, outcomes, plans_printed=False)


def print_log_line(renderer: Callable[..., str]) -> None:
    """Print a log line with all fields from outside."""
    event = {"timestamp": "02:00", "level": "error", "event": EVIL, "job": EVIL, "subject": EVIL, "run": EVIL,
             EVIL: EVIL, "list": [EVIL], "exception": EVIL.replace("\nforged", "\n forged")}  # fmt: skip
    sys.stderr.write(renderer(None, "error", event) + "\n")


def ask() -> None:
    """Ask a question on a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "read_line", lambda _check: "no")
        prompts.prompt(EVIL)


DIRECTLY: Mapping[str, Callable[[], object]] = {
    "a sentence": lambda: output.say(EVIL, output.BAD),
    "warnings": lambda: output.print_warnings([EVIL]),
    "a table": lambda: output.table([(output.Cell(EVIL, output.BAD), EVIL)], (EVIL, EVIL)),
    "an error": lambda: report_error(CrewError(EVIL, EVIL)),
    "an error of the file system": lambda: report_error(FileExistsError(17, "exists", EVIL)),
    "a bug": lambda: report_error(ValueError(EVIL)),
    "wrong usage": lambda: exit_codes.exit_for_usage_error(typer.BadParameter(EVIL), as_json=False),
    "an error as JSON": lambda: exit_codes.exit_for_error(CrewError(EVIL), as_json=True),
    "JSON": lambda: output.print_json({"text": EVIL, "list": [EVIL]}),
    "a question": ask,
    "run": lambda: run.print_records([RECORD]),
    "backups verify": lambda: restores._print_differences([Difference("rows", EVIL, 1, 2)]),
    "backups restore --dry-run": lambda: restores._print_plan(
        FAKE(name="try", timezone=UTC),
        FAKE(database=EVIL, started=NOW, id=EVIL),
        FAKE(manifest=MANIFEST),
        FAKE(database=EVIL),
        FAKE(value="create", adds=False),
        FAKE(tables=[EVIL], roles=[EVIL]),
        EVIL,
        as_json=False,
    ),
    "backups restore": lambda: restores._print_restored(
        FAKE(name="try", timezone=UTC),
        FAKE(database=EVIL, started=NOW, id=EVIL, has_failed=True),
        FAKE(manifest=MANIFEST),
        FAKE(database=EVIL, created_roles=[EVIL], notes=[EVIL], kept_as=EVIL),
        timedelta(1),
        as_json=False,
    ),
    "run hosts": lambda: run._print_changes([FAKE(details=HOSTS)]),
    "drift": lambda: drift._print_reports([REPORT], drift.Format.TEXT),
    "drift --format markdown": lambda: drift._print_reports([REPORT], drift.Format.MARKDOWN),
    "stacks plan --full": print_plan,
    "stacks apply": print_outcomes,
    "stacks apply, progress": lambda: stacks_command.print_progress(
        "a", 'aws_instance.a["' + EVIL.partition("\r")[0] + '\\r\\nforged: done"]: Creating...'
    ),
    "cost": lambda: cost.print_month(
        "try", FAKE(report=COST, cached=FAKE(fresh=True, bill=FAKE(price=EVIL, pages=1, fetched=NOW))), [EVIL]
    ),
    "check": lambda: output.table(
        [(c.name, str(f)) for c, f in check.merge_same_problems([(Check(EVIL, lambda: ok("")), fault(EVIL, EVIL))])]
    ),
    "alerts test": lambda: alerts._print_results([{"address": EVIL, "sent": False, "sentence": EVIL}]),
    "a log line": lambda: print_log_line(jobs.log._renderer()),
    "a log line on a terminal": lambda: print_log_line(jobs.log.format_for_terminal),
    "a log line without colours": lambda: print_log_line(jobs.log.format_without_colours),
}
"""What prints text from outside, by the name of its command."""

FROM_STORE = {
    "backups list": ("backups", "list", "try"),
    "backups show": ("backups", "show", "try", "shop"),
    "runs": ("runs", "try"),
    "runs --last": ("runs", "try", "backup", "shop", "--last"),
    "status": ("status", "try"),
}
"""Commands that print what they find in a store."""


@pytest.fixture(params=["plain", "terminal"])
def stream(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Let commands print to a file, then to a terminal."""
    assert capsys  # has replaced the streams before they are changed here
    if request.param == "terminal":
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", "2000")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)
    return str(request.param)


def assert_harmless(printed: str) -> None:
    """Fail if a terminal would obey anything in the text, besides our own colours and line breaks."""
    text = OUR_COLOURS.sub("", printed)
    assert [each for each in text if not each.isprintable() and each not in "\n\t"] == []
    assert [line for line in text.split("\n") if line.startswith("forged")] == []
    assert any(shown in "".join(text.split()) for shown in SHOWN)


@pytest.mark.usefixtures("stream")
@pytest.mark.parametrize("name", DIRECTLY)
def test_text_from_outside_is_harmless(capsys: pytest.CaptureFixture[str], name: str) -> None:
    DIRECTLY[name]()
    printed = capsys.readouterr()
    assert_harmless(printed.out + printed.err)


@pytest.fixture
def _hostile_store(write: Write, tmp_path: Path) -> None:
    """Fill a store with hostile names, tags, records, locks and a hostile manifest."""
    write(databases("shop", more='backup = "0 2 * * *"'))
    store = DirectoryStore(f"file://{tmp_path}/store", tmp_path / "store")
    (tmp_path / "store").mkdir(exist_ok=True)
    evil_name = EVIL.replace("\ud800", "")
    prefix = f"try/backups/shop/{MANIFEST.set}/"
    described = replace(DESCRIPTION, notes=(EVIL,), tables=(TableRows(EVIL, EVIL, 1, 1),), table_parts={"data-1": EVIL})
    with store.upload(f"{prefix}description") as upload:
        writer = PartWriter(upload, [])
        writer.write_all([encode_description(described)])
        description: Part = writer.complete("description", PartKind.DESCRIPTION, 1)
    manifest = replace(
        MANIFEST, environment="try", run=EVIL, tags=(EVIL,), recipients=(),
        tools={**MANIFEST.tools, EVIL: EVIL}, server=replace(MANIFEST.server, version=EVIL),
        parts=(*MANIFEST.parts[:2], description),
    )  # fmt: skip
    store.put(f"{prefix}manifest.json", encode_manifest(manifest))
    store.put(f"{prefix}tags/{evil_name}", b"")
    store.put(f"try/backups/{evil_name}/{MANIFEST.set}/manifest.json", b"{}")
    for key in ("20261121T020000Z-3f9a21.backup.done.shop", f"20261121T020000Z-3f9a22.backup.done.{evil_name}"):
        store.put(f"try/runs/20261121/{key}.json", record_to(replace(RECORD, job=EVIL, user=EVIL, command=EVIL)))
    store.put(f"try/locks/{evil_name}/{evil_name}.json", holder_to(Holder(EVIL, EVIL, 1, NOW, 60.0)))


@pytest.mark.usefixtures("stream", "_hostile_store")
@pytest.mark.parametrize("name", FROM_STORE)
def test_a_hostile_store_is_harmless(capsys: pytest.CaptureFixture[str], name: str) -> None:
    run_command_line(FROM_STORE[name])
    printed = capsys.readouterr()
    assert_harmless(printed.out + printed.err)


def test_the_status_page_is_harmless() -> None:
    health = Health(EVIL, EVIL, HealthState.FAILED, NOW, f"<script>{EVIL}", None)
    status = EnvironmentStatus("try", UTC, health=(health,), cost=COST, cost_error=EVIL)
    page = render_page([status, EnvironmentStatus(EVIL, UTC, error=EVIL.replace("\n", " "))], NOW)
    assert_harmless(page.replace("\nforged", " forged"))
    assert "<script" not in page


def test_metrics_are_harmless_and_can_be_read_again(tmp_path: Path) -> None:
    textfile = tmp_path / "crew.prom"
    samples = samples_of(replace(RECORD, figures={EVIL: 1}))
    textfile.write_text(to_text(samples))
    assert_harmless(textfile.read_text().replace("\\\\", "\\"))
    assert from_text(textfile.read_text()) == samples


def test_messages_of_deploys_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    one_line = EVIL.replace("\n", " ")
    log_message(FAKE(log=print), one_line)
    print(DeployError(one_line), StepFailed(one_line))
    assert_harmless(capsys.readouterr().out)


def test_markdown_shows_text_from_outside_as_code() -> None:
    report = replace(REPORT, stacks=(StackReport("a", error="@everyone see [this](https://evil.example)"),))
    assert "| a | `@everyone see [this](https://evil.example)` |" in list(as_markdown(report))


OUTPUT = re.compile(r"print|typer\.(echo|secho)|click\.echo|sys\.(stdout|stderr)\.write|Console|host\.log|\w+\.notify")
ALLOWED = {
    ("jobs/cli/output.py", "typer.echo"): "the one place where commands print",
    ("jobs/cli/exit_codes.py", "print"): "prints an error as JSON in ASCII",
    ("jobs/cli/exit_codes.py", "sys.stderr.write"): "prints the traceback of a bug, escaped, if no file can be written",
    ("jobs/run/progress.py", "Console"): "draws bars, with escaped descriptions",
    ("jobs/run/delivery.py", "sender.notify"): "sends alerts, escaped, as plain text",
    ("deploys/lib/host/reboot.py", "sys.stderr.write"): "writes to the journal of a host, without control characters",
    ("deploys/lib/messages.py", "host.log"): "the one place where deploys print",
    ("deploys/lib/postgres/pitr_metrics.py", "sys.stdout.write"): "prints numbers into a file on the host",
    ("deploys/lib/postgres/pitr_metrics.py", "sys.stderr.write"): "writes to the journal, without control characters",
    ("terraform/ci/environments.py", "sys.stdout.write"): "prints JSON in ASCII for GitHub",
    ("terraform/policy/policy.py", "sys.stdout.write"): "an example of a check, whose output crew escapes",
}
"""Calls that show text, by file, and why each is safe."""


def calls_that_show_text() -> set[tuple[str, str]]:
    """Return the file and the function of each call that shows text to a person."""
    return {
        (str(file.relative_to(ROOT)), ast.unparse(node.func))
        for package in ("inventories", "terraform", "deploys", "jobs")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and OUTPUT.fullmatch(ast.unparse(node.func))
    }


def test_nothing_prints_without_escaping() -> None:
    assert calls_that_show_text() == set(ALLOWED)
