"""The scripts in deploys/: each is in the README's table and says how to run it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

DEPLOYS = Path(__file__).parents[3] / "deploys"
SCRIPTS = sorted(file for file in DEPLOYS.glob("*.py") if file.name != "__init__.py")


def test_the_table_of_the_readme_lists_every_script() -> None:
    listed = re.findall(r"^\| `(\w+\.py)` \|", (DEPLOYS / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [script.name for script in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_says_how_to_run_it(script: Path) -> None:
    docstring = ast.get_docstring(ast.parse(script.read_text())) or ""
    assert re.search(rf"^    pyinfra inventories/\w+ deploys/{script.name}", docstring, re.MULTILINE), docstring
