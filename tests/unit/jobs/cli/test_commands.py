"""The list of commands, the help of each, and that help imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from jobs.cli.commands import COMMANDS, load_command
from tests.unit.jobs.cli.conftest import Crew


def test_help_lists_every_command_with_its_summary(crew: Crew) -> None:
    result = crew("--help")
    assert result.code == 0, result
    for name, entry in COMMANDS.items():
        assert f"  {name}" in result.out
        assert entry.summary in result.out, "a line that is too long is cut"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_in_the_list_is_the_first_line_of_the_commands_help(name: str) -> None:
    assert load_command(name).help.splitlines()[0] == COMMANDS[name].summary


def subcommands(name: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield a command, or each command of a group, with the words that call it."""
    command = load_command(name)
    inner = getattr(command, "commands", {})
    yield from (((name, each), inner[each]) for each in inner)
    if not inner:
        yield (name,), command


ALL = [pair for name in COMMANDS for pair in subcommands(name)]
EVERY = pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])


@EVERY
def test_each_help_has_examples(crew: Crew, words: tuple[str, ...], command: Any) -> None:
    result = crew(*words, "--help")
    assert result.code == 0, result
    assert f"  crew {' '.join(words)}" in result.out.partition("Examples:")[2]


GROUPS = [name for name in COMMANDS if hasattr(load_command(name), "commands")]


@pytest.mark.parametrize("name", GROUPS)
def test_each_group_has_examples_and_a_whole_line_for_each_command(crew: Crew, name: str) -> None:
    result = crew(name, "--help")
    assert result.code == 0, result
    commands, _, examples = result.out.partition("Examples:")
    assert f"  crew {name} " in examples
    assert "..." not in commands.partition("Commands:")[2], "a line that is too long is cut"


@EVERY
def test_each_argument_and_option_has_a_help_text_and_a_name_for_its_value(
    words: tuple[str, ...], command: Any
) -> None:
    for parameter in command.params:
        assert parameter.help, parameter.name
        takes_no_value = getattr(parameter, "is_flag", False) or hasattr(parameter.type, "choices")
        assert parameter.metavar or takes_no_value, parameter.name


@EVERY
def test_no_flag_has_a_negation_that_means_nothing(words: tuple[str, ...], command: Any) -> None:
    negations = [option for parameter in command.params for option in parameter.secondary_opts]
    assert negations in ([], ["--open"])


HEAVY = {"structlog", "rich", "pydantic", "boto3", "botocore", "psycopg", "apprise", "asyncio"}


def imported_modules(*words: str) -> set[str]:
    argv = [sys.executable, "-X", "importtime", "-m", "jobs.cli", *words]
    listed = subprocess.run(argv, capture_output=True, text=True, check=False).stderr
    return {line.rsplit("|", 1)[-1].strip() for line in listed.splitlines()}


def test_help_imports_no_command_and_nothing_heavy() -> None:
    modules = imported_modules("--help")
    assert "typer" in modules
    assert not modules & {*HEAVY, "inventories", "jobs.cli.run"}


@pytest.mark.parametrize("words", ["status", "runs", "backups list", "schedule list", "drift"])
def test_a_command_that_only_reads_imports_nothing_heavy(words: str) -> None:
    modules = imported_modules(*words.split(), "no-such-environment")
    assert "inventories.environment" in modules
    assert not modules & HEAVY


def test_version_names_the_program(crew: Crew) -> None:
    result = crew("--version")
    assert result.code == 0, result
    assert result.out.startswith("crew ")
