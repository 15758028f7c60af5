"""The names that jobs.backup offers to other packages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import backup


@pytest.mark.parametrize("name", backup.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(backup, name) is not None


def test_the_lists_of_names_are_equal() -> None:
    tree = ast.parse(Path(backup.__file__).read_text())
    [typed] = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    imports = {
        f"{node.module}.{alias.name}" for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imports == {f"jobs.backup.{module}.{name}" for name, module in backup._MODULES.items()}
    assert set(backup.__all__) == set(backup._MODULES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module jobs\.backup has no attribute nothing"):
        backup.__getattr__("nothing")


def test_the_package_loads_no_module_until_a_name_is_used() -> None:
    code = "import sys, jobs.backup; print([name for name in sys.modules if name.startswith('jobs.backup.')])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_a_status_imports_no_module_that_only_a_run_needs() -> None:
    code = (
        "import sys, jobs.status.page; from jobs.registry import find_job; "
        "[find_job(name) for name in ('backup', 'verify', 'copy', 'retention')]; "
        "print(*[name for name in sys.modules if name.startswith(('jobs.backup.restore', 'jobs.backup.take.', "
        "'jobs.backup.verify.', 'jobs.copies.', 'jobs.embedded'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        "jobs.backup.take.job",
        "jobs.backup.take.shrink",
        "jobs.backup.verify.job",
        "jobs.copies.job",
        "jobs.copies.plan",
    }
