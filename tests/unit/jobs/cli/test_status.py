"""crew status: health of environments, with the tests' own job on a directory store."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobs import cli
from jobs.cli.status import health_as_json, print_summary, problem_lines
from jobs.run.lease import Holder, holder_to
from jobs.run.ticks import tick_before
from jobs.status.health import Health, HealthState, by_severity
from tests.parts.patience import deadline, until
from tests.parts.runs import store_in
from tests.unit.jobs.cli.conftest import Crew, Write, databases

pytestmark = pytest.mark.usefixtures("count")

ALL = databases("shop", "broken", "odd")


def status(crew: Crew) -> dict[str, Any]:
    """Return the JSON of the only environment."""
    (environment,) = crew("status", "--json").json["environments"]
    return dict(environment)


def test_counts_and_since_when(crew: Crew, write: Write) -> None:
    write(ALL)
    assert crew("status", "try").out == "try: no runs yet. Start with: crew check try\n\n"
    first = crew("run", "count", "try", "--json").json["runs"]
    next_second = int(time.time()) + 1
    until(lambda: time.time() >= next_second)  # records of one second have no order
    crew("run", "count", "try", "--only", "broken")
    result = crew("status")
    assert result.code == 0, result
    assert result.out.splitlines()[0] == "try: 2 problems, 0 running, 1 ok"
    document = status(crew)
    failed = next(subject for subject in document["subjects"] if subject["state"] == "failed")
    assert failed["since"] == next(run["ended"] for run in first if run["subject"] == "broken")
    assert (document["problems"], document["running"], document["ok"]) == (2, 0, 1)


@pytest.mark.parametrize(
    ("page", "why"), [("/nosuch/x.html", "No such file or directory"), ("/proc", "Is a directory")]
)
def test_a_page_that_cannot_be_written_is_an_error_with_a_remedy(crew: Crew, write: Write, page: str, why: str) -> None:
    write(ALL)
    result = crew("status", "--html", page)
    assert result.code == 1, result
    assert result.err.startswith(f"cannot write {page}: {why}. Create its directory or change its permissions, or ")


def test_an_environment_that_cannot_be_read_hides_no_other(crew: Crew, write: Write) -> None:
    write(ALL)
    write(name="bad", head="nonsense = 1\n")
    write(name="bare", head='[environment]\nname = "bare"\n')
    crew("run", "count", "try", "--only", "shop")
    result = crew("status")
    assert result.code == 78, result
    assert result.out.index("bad: cannot read its health") < result.out.index("try: no problems, 0 running, 1 ok")
    assert "bare: no [store]" in result.out
    assert crew("status", "try").code == 0


def test_a_job_that_did_not_run_is_a_problem(crew: Crew, write: Write) -> None:
    all_lines = 'backup = "0 2 * * *"\nverify = "0 5 * * 0"\nretention = "30 6 * * *"'
    write(databases("shop", more=all_lines) + databases("odd"))
    assert "Start with: crew check try, then crew run backup try" in crew("status").out
    write(databases("shop", more='backup = "0 2 * * *"') + databases("odd"))
    crew("run", "count", "try", "--only", "odd")
    states = {subject["subject"]: subject["state"] for subject in status(crew)["subjects"]}
    assert states == {"shop": "waiting", "odd": "finding"}, "its scheduled times were before the first run"
    lock = Path("store", "try", "locks", "count", "odd.json")
    lock.write_text(re.sub(r'"first": "[^"]+"', '"first": "2025-01-01T00:00:00Z"', lock.read_text()))
    states = {subject["subject"]: subject["state"] for subject in status(crew)["subjects"]}
    assert states == {"shop": "missed first run", "odd": "finding"}


def test_databases_of_a_server_stand_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.now(UTC)
    states = {"main.b": HealthState.OK, "zoo": HealthState.OK, "main.a": HealthState.OK, "main.c": HealthState.FAILED}
    health = [Health("backup", name, state, now, "x", None) for name, state in states.items()]
    print_summary(health_as_json("try", by_severity(health)), now, UTC)
    assert [line.split("  ")[1:3] for line in capsys.readouterr().out.splitlines()[1:-1]] == [
        ["failed", "backup main.c"], ["ok", ""], ["server main: 2 ok"], ["ok", ""], ["ok", ""],
    ]  # fmt: skip


def test_the_summary_says_how_many_sets_it_did_not_check(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.now(UTC)
    one = Health("backup", "shop", HealthState.OK, now, "x", None, set_checked=False)
    summary = health_as_json("try", [one, replace(one, set_checked=True)])
    assert summary["sets_not_checked"] == 1
    print_summary(summary, now, UTC)
    assert capsys.readouterr().out.splitlines()[-2] == (
        "  Not checked in the store: the sets of 1 database. crew check try checks all."
    )


PROGRAM = """
from jobs.registry import JOBS
JOBS["count"] = "tests.parts.work:count"
from jobs.cli import main
main()
"""


@contextmanager
def running_job() -> Iterator[subprocess.Popen[str]]:
    """Run the job `count` in another process; send SIGTERM at the end."""
    checkout = Path(cli.__file__).parents[2]
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", "count", "try"],
        env={**os.environ, "PYTHONPATH": str(checkout)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield program
    finally:
        program.send_signal(signal.SIGTERM)


def test_a_running_job_is_shown_keeps_its_lock_and_ends_on_sigterm(crew: Crew, write: Write) -> None:
    write(databases("slow"))
    with running_job() as program:
        until(lambda: status(crew)["running"] == 1)
        assert "running  count slow" in crew("status").out
        result = crew("run", "count", "try")
        assert result.code == 75, result
        assert "is held by" in result.out
        assert [line.split()[1:4] for line in crew("runs", "try").out.splitlines()[1:]] == [
            ["running", "count", "slow"]
        ]
        (live,) = crew("runs", "try", "count", "slow", "--json").json["running"]
        assert (live["job"], live["subject"], live["pid"]) == ("count", "slow", program.pid)
        assert crew("runs", "try", "count", "shop", "--json").json["running"] == []
    out, err = program.communicate(timeout=deadline(20))
    assert program.returncode == 1, out + err
    assert "stopped by SIGTERM" in out
    assert all('"run": ' in line for line in err.splitlines()), err
    assert status(crew)["subjects"][0]["state"] == "failed"


def test_a_run_that_died_is_a_problem(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(databases("shop"))
    since = datetime(2026, 1, 1, tzinfo=UTC)
    store = store_in(tmp_path / "store")
    store.create("try/locks/count/shop.json", holder_to(Holder("r9", "far", 3, since, 60.0)))
    result = crew("status")
    assert result.out.splitlines()[0] == "try: 1 problem, 0 running, 0 ok"
    assert "run r9 on far (pid 3)" in result.out


def test_the_next_run_is_shown(crew: Crew, write: Write) -> None:
    write(databases("shop", more='retention = "* * * * *"'))
    crew("run", "retention", "try", "--scheduled")
    (subject,) = status(crew)["subjects"]
    after = datetime.now(UTC)
    latest = tick_before("* * * * *", ZoneInfo("UTC"), after)
    assert datetime.fromisoformat(subject["next"]) - latest <= timedelta(minutes=1)
    assert "next " in crew("status", "try").out


def test_only_problems_and_an_exit_code_for_monitoring(crew: Crew, write: Write) -> None:
    write(ALL)
    crew("run", "count", "try")
    result = crew("status", "--failed", "--exit-code")
    assert result.code == 2, result
    assert "failed" in result.out
    assert " ok " not in result.out.partition("\n")[2]
    assert "try: failed  count broken" in problem_lines([status(crew)])
    write(name="calm", head='[environment]\nname = "calm"\n')
    assert crew("status", "calm", "--exit-code").code == 0
