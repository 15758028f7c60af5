"""The wheel of groundcrew: it has every module, and a checkout's own deploys take precedence over it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.lab.pyinfra import PROGRAM, ROOT

PATTERNS = ("inventories/*.py", "terraform/*.py", "deploys/**/*.py", "jobs/**/*.py")
IMPORT_ALL = """
import importlib, sys
folder, *modules = sys.argv[1:]
sys.path.insert(0, folder)
for name in modules:
    file = importlib.import_module(name).__file__
    assert file.startswith(folder), f"{name} was imported from {file}"
"""


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of this checkout, without a package index, and unpack it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(build, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def python_files(root: Path) -> set[str]:
    return {str(file.relative_to(root)) for pattern in PATTERNS for file in root.glob(pattern)}


def test_the_wheel_has_the_python_files_of_the_checkout(unpacked_wheel: Path) -> None:
    files = python_files(unpacked_wheel)
    assert files == python_files(ROOT)
    assert {"deploys/k3s.py", "deploys/lib/k3s/nodes.py", "inventories/__init__.py"} <= files
    others = {str(file.relative_to(unpacked_wheel)) for file in unpacked_wheel.rglob("*.py")} - files
    assert others == set(), "group data, and other files that a team writes, are not part of the wheel"


def test_every_module_of_the_wheel_can_be_imported(unpacked_wheel: Path) -> None:
    scripts = {str(file.relative_to(unpacked_wheel)) for file in unpacked_wheel.glob("deploys/*.py")}
    files = python_files(unpacked_wheel) - scripts  # a deploy can be imported only by pyinfra
    modules = sorted(file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in files)
    assert len(modules) > 200
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_ALL, str(unpacked_wheel), *modules],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_pyinfra_uses_the_deploys_of_the_checkout_even_if_the_wheel_is_installed(
    unpacked_wheel: Path, tmp_path: Path
) -> None:
    (tmp_path / "deploy.py").write_text(
        "from deploys.lib import operations\nprint('operations:', operations.__file__)\n"
    )
    done = subprocess.run(
        [PROGRAM, "-y", "@local", str(tmp_path / "deploy.py")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(unpacked_wheel), "PYINFRA_PROGRESS": "off"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"operations: {ROOT}/deploys/lib/operations.py" in done.stdout + done.stderr
