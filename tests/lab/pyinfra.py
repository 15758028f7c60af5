"""Run pyinfra from the command line, in the root of the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.lab import Lab
from tests.parts.patience import deadline

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("pyinfra")


@dataclass(frozen=True)
class PyinfraRun:
    """The exit code and the output of a run."""

    code: int
    text: str

    @property
    def changes(self) -> int:
        """The number of operations that changed something, on all hosts."""
        total = re.search(r"Grand total +\S+ +(\d+|-)", self.text)
        assert total, self.text
        return int(total[1].replace("-", "0"))

    @property
    def commands(self) -> int:
        """The number of commands for facts and operations on all hosts. It needs --debug."""
        return self.text.count("Running command on ")


def deploy(lab: Lab, *arguments: str, timeout: int = 240, **options: Any) -> PyinfraRun:
    """Run `pyinfra -y inventories/lab deploys/…`. Keyword arguments become environment variables."""
    return end(begin(lab, *arguments, **options), timeout)


def begin(
    lab: Lab,
    *arguments: str,
    inventory: str = "inventories/lab",
    yes: bool = True,
    cwd: Path = ROOT,
    **variables: str,
) -> subprocess.Popen[str]:
    """Start the same."""
    return subprocess.Popen(
        [str(PROGRAM), *(["-y"] if yes else []), inventory, *arguments],
        cwd=cwd,
        env={**inherited(), **own_variables(lab), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def own_variables(lab: Lab) -> dict[str, str]:
    """Return the environment variables with which pyinfra finds the hosts of a lab."""
    return {"HOME": str(lab.home), "CREW_LAB": str(lab.folder), "PYINFRA_PROGRESS": "off"}


def inherited() -> dict[str, str]:
    """Our environment. Coverage doubles the cost of pyinfra, so it is off where the floor of deploys is not checked."""
    measured = os.environ.get("COVERAGE_OF_DEPLOYS") != "no"
    return {name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE_PROCESS")}


def end(running: subprocess.Popen[str], timeout: int = 240) -> PyinfraRun:
    """Wait for the end of a run."""
    with running:
        try:
            output, _ = running.communicate(timeout=deadline(timeout))
        finally:
            running.kill()
    return PyinfraRun(running.returncode, output)
