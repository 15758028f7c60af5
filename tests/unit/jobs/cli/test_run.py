"""crew run, with the tests' own job on a directory store."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.cli.run import JOB_SUMMARIES
from jobs.registry import JOBS
from tests.unit.jobs.cli.conftest import Crew, Write, databases

pytestmark = pytest.mark.usefixtures("count")

REGISTERED = tuple(JOBS)  # before the fixture adds a job of the tests
ALL = databases("shop", "broken", "odd")
STACK = '[terraform]\nstate = { bucket = "acme-state", region = "eu-central-1", lock = "file" }\n[stacks.network]\n'


def test_each_subject_is_one_line_failures_first(crew: Crew, write: Write) -> None:
    write(ALL)
    result = crew("run", "count", "try")
    assert result.code == 1, result
    assert [line.split()[:3] for line in result.out.splitlines()] == [
        ["failed", "count", "broken"],
        ["finding", "count", "odd"],
        ["done", "count", "shop"],
    ]
    assert "the disk is full; make room" in result.out


@pytest.mark.parametrize(
    ("only", "flags", "code"),
    [
        ("shop", (), 0),
        ("odd", (), 2),
        ("odd", ("--scheduled",), 0),
        ("broken", ("--scheduled",), 1),
    ],
)
def test_the_exit_code_is_the_worst_outcome(
    crew: Crew, write: Write, only: str, flags: tuple[str, ...], code: int
) -> None:
    write(databases("shop", "broken", "odd", more='backup = "* * * * *"'))
    result = crew("run", "count", "try", "--only", only, *flags)
    assert result.code == code, result


def test_a_run_as_json(crew: Crew, write: Write) -> None:
    write(ALL)
    document = crew("run", "count", "try", "--only", "odd", "--tag", "v1", "--json").json
    (run,) = document["runs"]
    assert (document["format"], document["environment"], document["job"]) == (1, "try", "count")
    assert (run["subject"], run["outcome"], run["figures"]) == ("odd", "finding", {"rows_missing": 3})


def test_no_subject_is_a_sentence(crew: Crew, write: Write) -> None:
    write()
    result = crew("run", "count", "try")
    assert result.code == 0, result
    assert result.out.startswith("Nothing to run")


@pytest.mark.parametrize("args", [(), ("--help",)])
def test_without_a_job_the_help_lists_all_jobs(crew: Crew, args: tuple[str, ...]) -> None:
    result = crew("run", *args)
    assert result.code == (0 if args else 64), result
    lines = [line.split(maxsplit=1) for line in (result.out + result.err).splitlines()]
    assert [*JOB_SUMMARIES.items()] == [(line[0], line[1]) for line in lines if line and line[0] in JOB_SUMMARIES]
    assert set(JOB_SUMMARIES) == set(REGISTERED)


def written(folder: Path) -> list[Path]:
    """Return the documents in the store, without its mark."""
    return [path for path in folder.rglob("store/**/*.json") if path.name != "groundcrew.json"]


@pytest.mark.parametrize(
    "job", ["backup", "verify", "retention", "copy", "drift", "hosts", "refresh", "cost", "status", "digest"]
)
def test_a_mistyped_name_leaves_no_record(crew: Crew, write: Write, tmp_path: Path, job: str) -> None:
    write(databases("shop") + STACK)
    result = crew("run", job, "try", "--only", "shpo")
    assert result.code == 64, result
    assert "shpo" in result.err
    assert written(tmp_path) == []


def test_a_mistyped_set_leaves_no_record(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(databases("shop"))
    manifest = tmp_path / "store" / "try" / "backups" / "shop" / "20261120T020000Z-cccc" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    result = crew("backups", "verify", "try", "shop", "--set", "nope")
    assert result.code == 64, result
    assert result.err.startswith("shop has no complete set nope; its newest is 20261120T020000Z-cccc")
    assert result.err.endswith("See all: crew backups list try shop\n")
    assert written(tmp_path) == [manifest]


def test_a_stack_that_is_not_in_the_file_is_wrong_usage(crew: Crew, write: Write) -> None:
    write(STACK)
    result = crew("run", "drift", "try", "--only", "netwrok")
    assert result.code == 64, result
    assert result.err.startswith("try: no stack netwrok; ")
    assert "network" in result.err.partition(";")[2]
