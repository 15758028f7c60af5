"""crew run, crew runs and crew status, with a job of the tests' own on a directory store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inventories import Repository
from jobs.cli import arguments
from jobs.run import lease
from jobs.store import open_store
from tests.unit.jobs.cli.conftest import Crew, databases

pytestmark = pytest.mark.usefixtures("count")
Write = Callable[..., Path]

ALL = databases("shop", "broken", "odd")


def test_each_subject_ends_in_a_line_the_bad_ones_first(crew: Crew, write: Write) -> None:
    write(ALL)
    ended = crew("run", "count", "try")
    assert ended.code == 1
    assert [line.split()[:3] for line in ended.out.splitlines()] == [
        ["failed", "count", "broken"],
        ["finding", "count", "odd"],
        ["done", "count", "shop"],
    ]
    assert "the disk is full; make room" in ended.out


@pytest.mark.parametrize(
    ("only", "flags", "code"),
    [
        ("shop", (), 0),
        ("odd", (), 2),
        ("odd", ("--scheduled",), 0),
        ("broken", ("--scheduled",), 1),
    ],
)
def test_the_exit_code_says_how_it_ended(
    crew: Crew, write: Write, only: str, flags: tuple[str, ...], code: int
) -> None:
    write(databases("shop", "broken", "odd", more='backup = "* * * * *"'))
    assert crew("run", "count", "try", "--only", only, *flags).code == code


def test_a_run_for_machines(crew: Crew, write: Write) -> None:
    write(ALL)
    told = crew("run", "count", "try", "--only", "odd", "--tag", "v1", "--json").told
    (run,) = told["runs"]
    assert (told["format"], told["environment"], told["job"]) == (1, "try", "count")
    assert (run["subject"], run["outcome"], run["figures"]) == ("odd", "finding", {"rows_missing": 3})


def test_nothing_to_run_is_said(crew: Crew, write: Write) -> None:
    write()
    ended = crew("run", "count", "try")
    assert ended.code == 0
    assert ended.out.startswith("There was nothing to run")


def test_runs_are_listed_newest_first(crew: Crew, write: Write) -> None:
    write(ALL)
    assert crew("runs", "try").out == "try: nothing has run yet.\n"
    crew("run", "count", "try", "--only", "shop")
    crew("run", "count", "try", "--only", "broken")
    listed = crew("runs", "try", "--json").told["runs"]
    assert {run["subject"] for run in listed} == {"shop", "broken"}
    assert listed == sorted(listed, key=lambda run: run["started"], reverse=True)
    assert "the disk is full" in crew("runs", "try", "count", "broken").out
    assert "nothing has run yet of count odd" in crew("runs", "try", "count", "odd").out
    assert len(crew("runs", "try", "-n", "1", "--json").told["runs"]) == 1


def test_one_run_is_shown_with_its_log(crew: Crew, write: Write) -> None:
    write(ALL)
    run = crew("run", "count", "try", "--only", "odd", "--tag", "v7", "--json").told["runs"][0]["run"]
    ended = crew("runs", "try", "count", "odd", "--last")
    assert ended.code == 0
    assert ended.out.startswith("finding: 3 rows are missing\n")
    assert "rows missing" in ended.out
    assert "working tags=['v7']" in ended.out
    assert crew("runs", "try", "--run", run, "--json").told["log"]
    ended = crew("runs", "try", "--run", "r0")
    assert (ended.code, ended.err) == (1, "try: there is no run r0 here; those that are: crew runs try\n")


STACK = '[terraform]\nstate = { bucket = "acme-state", region = "eu-central-1", lock = "file" }\n[stacks.network]\n'


def test_a_stack_that_the_file_does_not_name_is_mistyped(crew: Crew, write: Write) -> None:
    write(STACK)
    ended = crew("run", "drift", "try", "--only", "netwrok")
    assert (ended.code, ended.err) == (64, "try: there is no stack netwrok; there are network\n")


def test_status_has_the_numbers_and_since_when(crew: Crew, write: Write) -> None:
    write(ALL)
    assert crew("status", "try").out == "try: nothing has run yet. First: crew check try\n\n"
    first = crew("run", "count", "try", "--json").told["runs"]
    next_second = int(time.time()) + 1
    until(lambda: time.time() >= next_second)  # records of one second have no order
    crew("run", "count", "try", "--only", "broken")
    ended = crew("status")
    assert ended.code == 0
    assert ended.out.splitlines()[0] == "try: 2 wrong, 0 running, 1 in order"
    (told,) = crew("status", "--json").told["environments"]
    failed = next(one for one in told["subjects"] if one["state"] == "failed")
    assert failed["since"] == next(run["ended"] for run in first if run["subject"] == "broken")
    assert (told["wrong"], told["running"], told["ok"]) == (2, 0, 1)


def test_status_tells_what_it_can_and_exits_with_what_it_could_not(crew: Crew, write: Write) -> None:
    write(ALL)
    write(name="bad", head="nonsense = 1\n")
    write(name="bare", head='[environment]\nname = "bare"\n')
    crew("run", "count", "try", "--only", "shop")
    ended = crew("status")
    assert ended.code == 78
    assert ended.out.index("bad: its news can't be had") < ended.out.index("try: nothing wrong, 0 running, 1 in order")
    assert "bare: no [store]" in ended.out
    assert crew("status", "try").code == 0


def test_a_silent_schedule_is_wrong(crew: Crew, write: Write) -> None:
    all_lines = 'backup = "0 2 * * *"\nverify = "0 5 * * 0"\nretention = "30 6 * * *"'
    write(databases("shop", more=all_lines) + databases("odd"))
    assert "First: crew check try, then crew run backup try" in crew("status").out
    write(databases("shop", more='backup = "0 2 * * *"') + databases("odd"))
    crew("run", "count", "try", "--only", "odd")
    states = {one["subject"]: one["state"] for one in crew("status", "--json").told["environments"][0]["subjects"]}
    assert states == {"shop": "not yet", "odd": "finding"}, "its ticks were before anything ran here"
    (record,) = (Path("store") / "try" / "runs" / "count" / "odd").iterdir()
    record.rename(record.with_name("20250101T000000Z-abcdef.json"))
    states = {one["subject"]: one["state"] for one in crew("status", "--json").told["environments"][0]["subjects"]}
    assert states == {"shop": "never ran", "odd": "finding"}


PROGRAM = """
from jobs.registry import JOBS
JOBS["count"] = "tests.parts.work:count"
from jobs.cli import main
main()
"""


def until(seen: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.02)


def test_a_running_job_is_seen_refuses_a_second_and_ends_on_sigterm(
    crew: Crew, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(databases("slow"))
    house = Path(lease.__file__).parents[2]
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", "count", "try"],
        env={**os.environ, "PYTHONPATH": str(house)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until(lambda: crew("status", "--json").told["environments"][0]["running"] == 1)
        assert "running  count slow" in crew("status").out
        ended = crew("run", "count", "try")
        assert ended.code == 75
        assert "is held by" in ended.out
        assert [line.split()[1:4] for line in crew("runs", "try").out.splitlines()[1:]] == [
            ["running", "count", "slow"]
        ]
        (live,) = crew("runs", "try", "count", "slow", "--json").told["running"]
        assert (live["job"], live["subject"], live["pid"]) == ("count", "slow", program.pid)
        assert crew("runs", "try", "count", "shop", "--json").told["running"] == []
    finally:
        program.send_signal(signal.SIGTERM)
        out, err = program.communicate(timeout=20)
    assert program.returncode == 1
    assert "stopped by SIGTERM" in out
    assert all('"run": ' in line for line in err.splitlines())
    assert crew("status", "--json").told["environments"][0]["subjects"][0]["state"] == "failed"


def test_a_run_that_died_is_told(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    environment = Repository.find().read("try")
    store = arguments.store(environment)
    since = lease.from_iso("2026-01-01T00:00:00Z")
    assert since
    assert environment.store
    open_store(environment.store).create(
        "try/locks/count/shop.json", lease.holder_to(lease.Holder("r9", "far", 3, since, 60.0))
    )
    ended = crew("status")
    assert store.url.startswith("file://")
    assert ended.out.splitlines()[0] == "try: 1 wrong, 0 running, 0 in order"
    assert "run r9 on far (pid 3) ended without a word" in ended.out


def test_a_run_that_wrote_its_record_and_still_holds_its_lock_has_ended(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    run = crew("run", "count", "try", "--json").told["runs"][0]["run"]
    since = datetime.now(UTC)
    lock = Path("store", "try", "locks", "count", "shop.json")
    lock.write_bytes(lease.holder_to(lease.Holder(run, "here", 3, since, 60.0)))
    told = crew("runs", "try", "--json").told
    assert [one["run"] for one in told["runs"]] == [run]
    assert told["running"] == []
    lock.write_bytes(lease.holder_to(lease.Holder("r2", "here", 3, since, 60.0)))
    assert [one["run"] for one in crew("runs", "try", "--json").told["running"]] == ["r2"]
