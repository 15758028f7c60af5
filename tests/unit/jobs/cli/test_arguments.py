"""Exit codes, sentences, the one JSON object, late imports: what holds for every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inventories import ExitCode, hide
from jobs.cli import arguments, main
from jobs.cli.commands import COMMANDS, command
from jobs.store import Denied
from tests.unit.jobs.cli.conftest import Crew

CREW = [sys.executable, "-m", "jobs.cli"]


def test_help_lists_every_command_with_its_line(crew: Crew) -> None:
    ended = crew("--help")
    assert ended.code == 0
    for name, place in COMMANDS.items():
        assert f"  {name}" in ended.out
        assert place.line in ended.out, "a line that is too long is cut"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_list_is_the_first_of_the_commands_own_help(name: str) -> None:
    assert command(name).help.splitlines()[0] == COMMANDS[name].line


def typed(name: str) -> list[tuple[str, ...]]:
    """A command as it is typed; a group's commands each."""
    return [(name, inner) for inner in getattr(command(name), "commands", ())] or [(name,)]


@pytest.mark.parametrize("words", [words for name in COMMANDS for words in typed(name)], ids=" ".join)
def test_each_help_has_examples(crew: Crew, words: tuple[str, ...]) -> None:
    ended = crew(*words, "--help")
    assert ended.code == 0
    assert f"  crew {' '.join(words)}" in ended.out.partition("Examples:")[2]


HEAVY = {"structlog", "rich", "pydantic", "boto3", "psycopg", "apprise", "asyncio"}


def imported(*words: str) -> set[str]:
    argv = [sys.executable, "-X", "importtime", "-m", "jobs.cli", *words]
    listed = subprocess.run(argv, capture_output=True, text=True, check=False).stderr
    return {line.rsplit("|", 1)[-1].strip() for line in listed.splitlines()}


def test_help_imports_no_command_and_nothing_heavy() -> None:
    found = imported("--help")
    assert "typer" in found
    assert not found & {*HEAVY, "inventories", "jobs.cli.run"}


@pytest.mark.parametrize("words", ["status", "runs", "backups list", "schedule list", "drift"])
def test_who_only_asks_waits_for_nothing_heavy(words: str) -> None:
    found = imported(*words.split(), "no-such-environment")
    assert "inventories.environment" in found
    assert not found & HEAVY


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "Usage: crew"),
        (["stauts"], "Did you mean 'status'"),
        (["--nope"], "No such option: --nope"),
        (["check"], "Missing argument 'ENV'"),
        (["run", "count"], "Missing argument 'ENV'"),
        (["run", "cuont", "try"], "there is no job 'cuont'; there are: "),
        (["runs", "try", "--limit", "none"], "(crew runs --help)"),
        (["alerts"], "Usage: crew alerts"),
    ],
)
@pytest.mark.usefixtures("count")
def test_wrong_usage_is_64_and_says_so_on_stderr(
    crew: Crew, write: Callable[..., Path], args: list[str], says: str
) -> None:
    write()
    ended = crew(*args)
    assert (ended.code, ended.out) == (64, "")
    assert says in ended.err


def test_an_error_is_one_object_too(crew: Crew, write: Callable[..., Path]) -> None:
    write()
    ended = crew("run", "nothing", "try", "--json")
    assert (ended.code, ended.err) == (64, "")
    assert ended.told["code"] == 64
    assert ended.told["error"].startswith("there is no job 'nothing'")


def test_bad_configuration_is_78_with_every_line(crew: Crew, write: Callable[..., Path]) -> None:
    write("nonsense = 1\n[cost]\nbudget = -3\n")
    ended = crew("check", "try")
    assert (ended.code, ended.out) == (78, "")
    assert len(ended.err.splitlines()) == 2
    assert all(line.startswith("inventories/try.toml: ") for line in ended.err.splitlines())
    assert len(crew("check", "try", "--json").told["errors"]) == 2


def test_an_unknown_environment_lists_those_that_exist(crew: Crew, write: Callable[..., Path]) -> None:
    write()
    ended = crew("status", "rty", "--json")
    assert ended.code == 78
    assert "there are try" in ended.told["environments"][0]["error"]


def test_outside_of_a_repository_the_way_in_is_told(
    crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREW_ROOT", raising=False)
    ended = crew("status")
    assert ended.code == 78
    assert "--root or CREW_ROOT" in ended.err


def test_root_and_crew_root_lead_to_the_repository(
    crew: Crew, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    monkeypatch.chdir("/")
    assert crew("--root", str(tmp_path), "runs", "try").code == 0
    monkeypatch.setenv("CREW_ROOT", str(tmp_path))
    assert crew("runs", "try").code == 0


def test_an_environment_without_a_store_is_told_to_get_one(crew: Crew, write: Callable[..., Path], count: None) -> None:
    write(head='[environment]\nname = "try"\n')
    ended = crew("run", "count", "try")
    assert ended.code == 78
    assert "has no [store]" in ended.err


def test_what_a_room_raises_is_a_sentence(
    crew: Crew, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Denied("s3://acme: the key may not list; grant s3:ListBucket")

    write()
    monkeypatch.setattr("jobs.run.record.records", refuse)
    ended = crew("runs", "try")
    assert (ended.code, ended.err) == (1, "s3://acme: the key may not list; grant s3:ListBucket\n")


def test_a_bug_is_an_apology_and_a_file_with_its_traceback_without_secrets(
    crew: Crew, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def break_down(*_: object) -> None:
        raise ValueError("postgresql://me:hunter2@db/shop has no colour")

    write()
    monkeypatch.setattr("jobs.run.record.records", break_down)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = crew("runs", "try")
    (kept,) = tmp_path.glob("crew-*.txt")
    assert ended.code == 1
    assert ended.err.startswith("Sorry, crew broke: ValueError: postgresql://me:***@db/shop has no colour.")
    assert str(kept) in ended.err
    assert "Traceback" not in ended.err
    assert "break_down" in kept.read_text()
    assert "hunter2" not in ended.err + kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "read-only"))
    ended = crew("runs", "try")
    assert ended.code == 1
    assert "in break_down" in ended.err
    assert "hunter2" not in ended.err
    assert ended.err.endswith("Please report it with what stands above (the traceback, secrets blanked).\n")


def test_ctrl_c_is_130_with_a_sentence(crew: Crew, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    write()
    monkeypatch.setattr("jobs.run.record.records", interrupted)
    ended = crew("runs", "try")
    assert (ended.code, ended.err) == (130, "Stopped by Ctrl-C.\n")
    assert crew("runs", "try", "--json").told["code"] == 130
    monkeypatch.setattr("jobs.cli.commands.crew", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(["runs", "try"])


def test_a_reader_that_leaves_is_no_error() -> None:
    """As in `crew runs production | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [*CREW, "init", "--reference"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_version_names_the_program(crew: Crew) -> None:
    ended = crew("--version")
    assert ended.code == 0
    assert ended.out.startswith("crew ")


def test_a_program_exits_with_the_code_and_logs_nothing_else() -> None:
    ended = subprocess.run([*CREW, "check", "nowhere", "--json"], capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.BAD_CONFIGURATION
    assert json.loads(ended.stdout)["format"] == 1
    assert ended.stderr == ""


@pytest.mark.parametrize("password", ["1", "1234", "true", "format", "\\", '"'])
def test_no_password_however_silly_breaks_what_machines_read(capsys: pytest.CaptureFixture[str], password: str) -> None:
    hide(password)
    arguments.print_json({"bytes": 1234567, "done": True, "said": f"is {password}", "log": [{"of": f"is {password}"}]})
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["bytes"], told["done"]) == (1, 1234567, True)
    assert (told["said"], told["log"]) == ("is ***", [{"of": "is ***"}])
