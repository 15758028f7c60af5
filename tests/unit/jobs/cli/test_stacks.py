"""crew stacks: what is refused before anything is asked of a cloud, what is told while Terraform works, and asking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli.stacks import progress
from tests.unit.jobs.cli.conftest import Crew


def test_a_plan_that_is_kept_is_made_under_the_lock(crew: Crew, write: Callable[..., Path]) -> None:
    write("[stacks.network]\n")
    refused = crew("stacks", "plan", "try", "--no-lock", "--save", "plans")
    assert refused.code == 64
    assert "leave out --no-lock, or --save" in refused.out + refused.err


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
def test_what_terraform_does_is_told(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    progress("network", line)
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
def test_anything_else_is_not(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    progress("network", line)
    assert capsys.readouterr().err == ""
