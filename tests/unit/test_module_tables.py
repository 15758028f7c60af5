"""The READMEs of the Terraform modules list the variables and outputs of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.module_tables import MODULES, tables, with_tables

FOLDERS = sorted(folder for folder in MODULES.iterdir() if folder.is_dir())


@pytest.mark.parametrize(
    "module", [folder for folder in sorted(MODULES.iterdir()) if folder.is_dir()], ids=lambda folder: folder.name
)
def test_a_readme_has_the_current_tables(module: Path) -> None:
    readme = (module / "README.md").read_text()
    assert with_tables(readme, module) == readme, "run: python -m tests.module_tables"


def test_every_variable_and_output_has_a_description() -> None:
    lines = "".join(tables(folder) for folder in FOLDERS).splitlines()
    assert [line for line in lines if "|  |" in line] == []
