"""Exit codes, error sentences and the one JSON object, which hold for every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inventories import ExitCode
from jobs.cli import main
from jobs.store import Denied
from tests.unit.jobs.cli.conftest import Crew, Write

CREW = [sys.executable, "-m", "jobs.cli"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Usage: crew"),
        (["stauts"], "Did you mean 'status'"),
        (["--nope"], "No such option: --nope"),
        (["check"], "Missing argument 'ENV'"),
        (["run", "count"], "Missing argument 'ENV'"),
        (["run", "cuont", "try"], "there is no job 'cuont'; jobs are: "),
        (["restore"], "there is no command crew restore; use: crew backups restore"),
        (["list", "try"], "use: crew backups list"),
        (["verify", "try", "shop"], "use: crew backups verify"),
        (["logs"], "use: crew runs ENV --last"),
        (["rollback", "try", "network"], "use: crew stacks rollback"),
        (["hosts", "try"], "use: crew run hosts"),
        (["backups", "fetch", "try", "shop", "defs", "--to", "-", "--json"], "both write to stdout"),
        (["runs", "try", "--limit", "none"], "(crew runs --help)"),
        (["alerts"], "Usage: crew alerts"),
    ],
)
@pytest.mark.usefixtures("count")
def test_wrong_usage_exits_with_64_and_prints_why_to_stderr(
    crew: Crew, write: Write, args: list[str], message: str
) -> None:
    write()
    result = crew(*args)
    assert result.code == 64, result
    assert message in (result.out or result.err)
    assert not (result.out and result.err)


def test_an_environment_without_stacks_has_nothing_to_compare(crew: Crew, write: Write) -> None:
    write()
    assert crew("drift", "try").out == "try: no stacks, so there is nothing to compare\n"
    assert crew("drift", "--all").out == "No environment has stacks, so there is nothing to compare.\n"


def test_with_json_an_error_is_one_object_too(crew: Crew, write: Write) -> None:
    write()
    result = crew("run", "nothing", "try", "--json")
    assert result.code == 64, result
    assert result.err == ""
    assert result.json["code"] == 64
    assert result.json["error"].startswith("there is no job 'nothing'")


def test_bad_configuration_exits_with_78_and_lists_every_fault(crew: Crew, write: Write) -> None:
    write("nonsense = 1\n[cost]\nbudget = -3\n")
    result = crew("check", "try")
    assert result.code == 78, result
    assert result.out == ""
    assert len(result.err.splitlines()) == 2
    assert all(line.startswith("inventories/try.toml: ") for line in result.err.splitlines())
    assert len(crew("check", "try", "--json").json["errors"]) == 2


def test_an_error_of_a_package_is_printed_as_its_sentence(
    crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Denied("s3://acme: the key may not list; grant s3:ListBucket")

    write()
    monkeypatch.setattr("jobs.run.holders.read_holders", refuse)
    result = crew("runs", "try")
    assert result.code == 1, result
    assert result.err == "s3://acme: the key may not list; grant s3:ListBucket\n"


def test_a_bug_is_an_apology_and_a_file_with_the_traceback_without_secrets(
    crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def break_down(*_: object) -> None:
        raise ValueError("postgresql://me:hunter2@db/shop has no colour")

    write()
    monkeypatch.setattr("jobs.run.holders.read_holders", break_down)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = crew("runs", "try")
    (traceback_file,) = tmp_path.glob("crew-*.txt")
    assert result.code == 1, result
    assert result.err.startswith("Bug in crew: ValueError: postgresql://me:***@db/shop has no colour.")
    assert str(traceback_file) in result.err
    assert "Traceback" not in result.err
    assert "break_down" in traceback_file.read_text()
    assert "hunter2" not in result.err + traceback_file.read_text()
    assert traceback_file.stat().st_mode & 0o077 == 0
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "read-only"))
    result = crew("runs", "try")
    assert result.code == 1, result
    assert "in break_down" in result.err
    assert "hunter2" not in result.err
    assert result.err.endswith("Please report it with the traceback above (secrets are removed from it).\n")


def test_ctrl_c_exits_with_130(crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    write()
    monkeypatch.setattr("jobs.run.holders.read_holders", interrupted)
    result = crew("runs", "try")
    assert result.code == 130, result
    assert result.err == "Interrupted by Ctrl-C.\n"
    assert crew("runs", "try", "--json").json["code"] == 130
    monkeypatch.setattr("jobs.cli.commands.command_line", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(["runs", "try"])


def test_a_closed_pipe_prints_no_error() -> None:
    """As in `crew runs production | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [*CREW, "init", "--reference"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr == ""


def test_the_program_exits_with_the_code_and_logs_nothing_else() -> None:
    ended = subprocess.run([*CREW, "check", "nowhere", "--json"], capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.BAD_CONFIGURATION, ended
    assert json.loads(ended.stdout)["format"] == 1
    assert ended.stderr == ""
