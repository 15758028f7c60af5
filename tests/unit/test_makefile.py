"""`make help` describes each target in one line, and each target can be made."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.parts.made import MAKEFILE, TARGETS

INSIDE = {"machine"}  # prerequisites of others


def make(*args: str) -> subprocess.CompletedProcess[str]:
    argv = ["make", "--no-print-directory", *args]
    return subprocess.run(argv, cwd=MAKEFILE.parent, capture_output=True, text=True, check=False)


def test_help_tells_every_target_in_one_line() -> None:
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", MAKEFILE.read_text(), re.MULTILINE)
    assert phony
    assert set(phony[1].replace("\\", "").split()) - INSIDE == set(TARGETS)
    ended = make("help")
    assert [line.split()[1] for line in ended.stdout.splitlines()] == list(TARGETS)
    assert all(
        line.startswith(f"  make {name} ") for name, line in zip(TARGETS, ended.stdout.splitlines(), strict=True)
    )
    assert max(map(len, ended.stdout.splitlines())) <= 120
    assert make().stdout == ended.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_each_can_be_made(target: str) -> None:
    ended = make("--dry-run", target)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_what_it_calls_is_there(target: str) -> None:
    for module in re.findall(r"python3? -m ([\w.]+)", make("--dry-run", target).stdout):
        if module.startswith("tests"):
            path = Path(MAKEFILE.parent, *module.split("."))
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_an_image_has_a_name_that_registries_take() -> None:
    assert (
        'docker build --tag "ghcr.io/acme/crew:v1"' in make("--dry-run", "image", "IMAGE=ghcr.io/Acme/Crew:v1").stdout
    )
