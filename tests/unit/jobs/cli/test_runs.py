"""crew runs: the list of runs, and one run with its log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.run.by_hand import RECORDED_COMMANDS
from jobs.run.lease import Holder, holder_to
from tests.unit.jobs.cli.conftest import Crew, Write, databases

pytestmark = pytest.mark.usefixtures("count")

ALL = databases("shop", "broken", "odd")


def test_runs_are_listed_newest_first(crew: Crew, write: Write) -> None:
    write(ALL)
    assert crew("runs", "try").out == "try: no runs yet\n"
    crew("run", "count", "try", "--only", "shop")
    crew("run", "count", "try", "--only", "broken")
    listed = crew("runs", "try", "--json").json["runs"]
    assert {run["subject"] for run in listed} == {"shop", "broken"}
    assert listed == sorted(listed, key=lambda run: run["started"], reverse=True)
    assert "the disk is full" in crew("runs", "try", "count", "broken").out
    assert crew("runs", "try", "count", "odd").out.startswith("try: no runs of count odd since ")
    assert len(crew("runs", "try", "-n", "1", "--json").json["runs"]) == 1


def test_the_help_names_each_command_that_leaves_a_record(crew: Crew) -> None:
    help_text = crew("runs", "--help").out
    assert [command for command in RECORDED_COMMANDS if command not in help_text] == []


def test_one_run_is_shown_with_its_log(crew: Crew, write: Write) -> None:
    write(ALL)
    run = crew("run", "count", "try", "--only", "odd", "--tag", "v7", "--json").json["runs"][0]["run"]
    result = crew("runs", "try", "count", "odd", "--last")
    assert result.code == 0, result
    assert result.out.startswith("finding: 3 rows are missing\n")
    assert "rows missing" in result.out
    assert "working tags=['v7']" in result.out
    assert crew("runs", "try", "--run", run, "--json").json["log"]


def test_an_unknown_run_is_an_error(crew: Crew, write: Write) -> None:
    write(ALL)
    result = crew("runs", "try", "--run", "r0")
    assert result.code == 1, result
    assert result.err == "try: there is no run r0; to list all runs: crew runs try\n"
    assert crew("runs", "try", "--last").err == "try: there is no such run yet; to list all runs: crew runs try\n"


def lock_of(run: str) -> bytes:
    """Return the body of a live lock."""
    return holder_to(Holder(run, "here", 3, datetime.now(UTC), 60.0))


def test_a_run_that_wrote_its_record_and_still_holds_its_lock_has_ended(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    run = crew("run", "count", "try", "--json").json["runs"][0]["run"]
    lock = Path("store", "try", "locks", "count", "shop.json")
    lock.write_bytes(lock_of(run))
    document = crew("runs", "try", "--json").json
    assert [each["run"] for each in document["runs"]] == [run]
    assert document["running"] == []
    lock.write_bytes(lock_of("r2"))
    assert [each["run"] for each in crew("runs", "try", "--json").json["running"]] == ["r2"]


def test_a_misspelt_job_is_an_error_that_names_the_nearest(crew: Crew, write: Write) -> None:
    write(ALL)
    result = crew("runs", "try", "bakcup")
    assert result.code == 64, result
    assert result.err.startswith("there is no job 'bakcup'; did you mean backup? Runs are of: backup, verify, ")


def test_runs_are_filtered_by_outcome_and_time_and_found_by_the_end_of_their_id(crew: Crew, write: Write) -> None:
    write(ALL)
    crew("run", "count", "try", "--scheduled")
    (failed,) = crew("runs", "try", "--failed", "--json").json["runs"]
    assert (failed["subject"], failed["outcome"]) == ("broken", "failed")
    assert crew("runs", "try", "--run", failed["run"][-6:], "--json").json["run"] == failed["run"]
    assert len(crew("runs", "try", "--since", "1h", "--json").json["runs"]) == 3
    later = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"  # before midnight, a run is of tomorrow's time
    assert crew("runs", "try", "--since", later, "--json").json["runs"] == []
    assert "no failed runs of count shop since" in crew("runs", "try", "count", "shop", "--failed").out
    result = crew("runs", "try", "--since", "noon")
    assert result.code == 64, result
    assert result.err.startswith("--since noon: this is not a time")


def test_a_run_shows_who_started_it_and_with_which_command(
    crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(ALL)
    monkeypatch.setenv("SUDO_USER", "anna")
    crew("run", "count", "try", "--only", "shop")
    out = crew("runs", "try", "--last").out
    assert ", by anna@" in out
    assert "crew run count try --only shop" in out
    assert "anna@" in crew("runs", "try").out


def test_a_run_that_died_is_listed_before_and_after_another_run_takes_over(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    lock = Path("store", "try", "locks", "count", "shop.json")
    lock.parent.mkdir(parents=True)
    since = datetime.now(UTC) - timedelta(minutes=9)
    dead = Holder(f"{since:%Y%m%dT%H%M%SZ}-dead00", "far", 3, since, 0.01, user="anna", command="crew run count try")
    lock.write_bytes(holder_to(dead))
    for _ in range(2):
        (died,) = crew("runs", "try", "--failed", "--json").json["runs"]
        assert (died["run"], died["outcome"], died["user"]) == (dead.run, "died", "anna")
        assert "killed or crashed" in crew("runs", "try", "--run", "dead00").out
        crew("run", "count", "try")
    assert [run["outcome"] for run in crew("runs", "try", "--json").json["runs"]] == ["done", "done", "died"]


def test_pins_leave_records(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    folder = Path("store", "try", "backups", "shop", "20261121T020000Z-3f9a")
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()
    assert crew("backups", "pin", "try", "shop", "--set", "3f9a").code == 0
    assert crew("backups", "unpin", "try", "shop").code == 0
    runs = crew("runs", "try", "--json").json["runs"]
    assert {(run["job"], run["subject"], run["outcome"], run["sentence"]) for run in runs} == {
        ("pin", "shop", "done", "set 20261121T020000Z-3f9a"),
        ("unpin", "shop", "done", "set 20261121T020000Z-3f9a"),
    }
    assert runs[0]["command"].startswith("crew backups ")


def test_a_pinned_set_that_lost_its_manifest_can_be_unpinned(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    folder = Path("store", "try", "backups", "shop", "20261121T020000Z-3f9a")
    folder.mkdir(parents=True)
    (folder / "pin").touch()
    assert crew("backups", "unpin", "try", "shop").code == 1, "a person must name it"
    assert crew("backups", "unpin", "try", "shop", "--set", "3f9a").code == 0
    assert not folder.exists()
