"""What of this machine a test can need, and whether it is there.

Mark what is not installed by pip: `@needs("root")`, `@needs("age")`, `@needs("lab")`, and for PostgreSQL
`@majors(13, 15, 18)`, which gives the test a `major`. With CI=true a missing part fails the test; else the tests that
want it are left out, and one line says so.
"""

from __future__ import annotations

import os
import shutil

import pytest

from tests.lab import machine
from tests.parts.postgres import SERVERS

needs = pytest.mark.needs


def majors(*versions: int) -> pytest.MarkDecorator:
    """Run the test once for each major version of PostgreSQL."""
    return pytest.mark.parametrize("major", [pytest.param(each, marks=needs(f"postgres-{each}")) for each in versions])


def missing(item: pytest.Item) -> list[str]:
    """The parts that a test wants and that are not there."""
    return [part for mark in item.iter_markers("needs") for part in mark.args if not is_there(part)]


def is_there(part: str) -> bool:
    """Root, the lab, a server of a major version, else a program."""
    if part == "lab":
        return not machine.why_not_here()
    if part == "root":
        return os.geteuid() == 0
    if part.startswith("postgres-"):
        return (SERVERS[int(part.removeprefix("postgres-"))] / "postgres").exists()
    return shutil.which(part) is not None
