"""crew stacks: option checks, and which lines of Terraform's output are shown as progress."""

from __future__ import annotations

import pytest

from jobs.cli.stacks_command import print_progress
from tests.unit.jobs.cli.conftest import Crew, Write

STACK = """
[terraform]
program = "/nosuch/terraform"
state = { bucket = "acme-state", region = "eu-central-1", lock = "file" }
[stacks.network]
"""
"""A stack of a program that does not exist, so that every plan would fail."""


def test_a_plan_cannot_be_saved_without_the_lock(crew: Crew, write: Write) -> None:
    write("[stacks.network]\n")
    result = crew("stacks", "plan", "try", "--no-lock", "--save", "plans")
    assert result.code == 64, result
    assert "omit --no-lock or --save" in result.err


def test_a_directory_that_cannot_hold_plans_is_an_error_before_anything_is_planned(crew: Crew, write: Write) -> None:
    write(STACK)
    result = crew("stacks", "plan", "try", "--save", "/proc/plans")
    assert result.code == 1, result
    assert result.err.startswith("cannot write /proc/plans: No such file or directory. ")


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_a_change_without_a_terminal_needs_yes(crew: Crew, write: Write, command: str) -> None:
    """The error comes before anything is planned."""
    write(STACK)
    result = crew("stacks", command, "try")
    assert result.code == 64, result
    assert result.err == (
        f"stdin is not a terminal, so crew cannot ask for confirmation. To {command} stacks of try, add --yes.\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "aws_vpc.x: Creating...",
        "aws_vpc.x: Still creating... [00m10s elapsed]",
        "aws_vpc.x: Creation complete after 1s [id=vpc-1]",
        'module.a["b c: d \\"e"].aws_vpc.x["f"]: Modifying... [id=vpc-1]',
        "aws_vpc.x[0]: Still modifying... [id=vpc-1, 10s elapsed]",
        "aws_vpc.x: Modifications complete after 1s [id=vpc-1]",
        "aws_vpc.x (deposed object 0a1b2c3d): Destroying... [id=vpc-1]",
        "aws_vpc.x: Destruction complete after 0s",
        "aws_vpc.x: Importing... [id=vpc-1]",
        "aws_vpc.x: Import complete [id=vpc-1]",
    ],
)
def test_progress_on_a_resource_is_shown(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_progress("network", line)
    assert capsys.readouterr().err == f"network: {line}\n"


@pytest.mark.parametrize(
    "line",
    [
        '{"steps": "- name: create swap", "password": "hush"}',
        '{"a.x: Creating...": "hush"}',
        '  ~ password = "aws_vpc.x: Creating..."',
        'hush = "a.x: Creating..."',
        "null_resource.x (local-exec): hush: Creating...",
        "aws_vpc.x: Refreshing state... [id=vpc-1]",
        "aws_vpc.x: creative",
    ],
)
def test_other_lines_are_not_shown(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_progress("network", line)
    assert capsys.readouterr().err == ""


def test_control_characters_of_a_resource_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_progress("network", 'aws_vpc.x["\x1b]0;owned\x07"]: Creation complete after 1s [id=\x9b2J]')
    assert capsys.readouterr().err == (
        r'network: aws_vpc.x["\x1b]0;owned\x07"]: Creation complete after 1s [id=\x9b2J]' + "\n"
    )
