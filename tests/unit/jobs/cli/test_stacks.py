"""crew stacks: what is refused before anything is asked of a cloud, what is told while Terraform works, and asking."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from jobs.cli.stacks import progress, typed
from jobs.stop import Stop, Stopped
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


class TestTyped:
    @pytest.fixture
    def keyboard(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
        """What is written there is typed."""
        reader, writer = os.pipe()
        with os.fdopen(reader) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            yield writer

    def test_a_line(self, keyboard: int) -> None:
        threading.Timer(0.2, os.write, (keyboard, b" production \n")).start()
        assert typed(cast("Any", Stop())) == "production"
        os.close(keyboard)

    def test_the_end_is_no_answer(self, keyboard: int) -> None:
        os.close(keyboard)
        assert typed(cast("Any", Stop())) == ""

    def test_it_ends_at_once_when_it_is_told_to(self, keyboard: int) -> None:
        stop = Stop()
        threading.Timer(0.2, stop.tell, ("stopped by SIGINT",)).start()
        begun = time.monotonic()
        with pytest.raises(Stopped, match="stopped by SIGINT"):
            typed(cast("Any", stop))
        assert time.monotonic() - begun < 5
        os.close(keyboard)
