"""crew runs: the list of runs, and one run with its log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

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
