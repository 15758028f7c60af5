"""The packages of a release, the pip commands that fetch them, and the cache of wheels."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploys.lib.job_runner import release
from deploys.lib.job_runner.release import (
    HostPython,
    build_command,
    download_command,
    make_wheels,
    parse_constraints,
    pinned_requirements,
    release_id,
    resolve_packages,
)
from deploys.lib.preflight import DeployError

DEBIAN_12 = HostPython("3.11", 36, "x86_64")
DEBIAN_13_ARM = HostPython("3.13", 41, "aarch64")
METADATA = {
    "app": ['db[binary]>=3; python_version < "3.13"', "plain", 'colors; sys_platform == "win32"'],
    "db": ['db-binary==3; extra == "binary"', 'db-c; extra == "c"'],
    "plain": ['old; python_version < "3.12"', "app"],
}


@pytest.mark.parametrize(
    ("python", "names"), [(DEBIAN_12, ["app", "db", "db-binary", "old", "plain"]), (DEBIAN_13_ARM, ["app", "plain"])]
)
def test_packages_are_those_that_the_hosts_python_needs(python: HostPython, names: list[str]) -> None:
    first = ["App>=1", 'mine; sys_platform == "darwin"']
    assert resolve_packages(first, lambda name: METADATA.get(name, []), python.markers) == names


def test_each_package_has_the_version_in_constraints_txt() -> None:
    requirements = pinned_requirements(DEBIAN_12)
    assert "pyinfra==3.10.0" in requirements
    assert [requirement for requirement in requirements if "==" not in requirement] == []
    assert "mypy" not in " ".join(requirements), "packages for tests are not part of a release"
    assert parse_constraints("# why\nJinja2==3.1.6\nzope.event==6.2\n") == {
        "jinja2": "Jinja2==3.1.6",
        "zope-event": "zope.event==6.2",
    }


def test_wheels_are_downloaded_for_the_hosts_python() -> None:
    command = download_command(HostPython("3.13", 6, "aarch64"), ["zstandard==0.25.0"], Path("/folder"))
    assert command[1:] == [
        "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", "/folder",
        "--implementation", "cp", "--python-version", "3.13",
        "--platform", "manylinux_2_6_aarch64", "--platform", "manylinux_2_5_aarch64", "zstandard==0.25.0",
    ]  # fmt: skip


def test_wheels_are_built_from_source_without_the_packages_of_the_own_venv() -> None:
    assert "--use-pep517" in build_command(Path("/source"), Path("/folder"))


def minimal_repository(folder: Path) -> Path:
    """Write the least that pip can build a wheel from."""
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs/__init__.py").write_text("")
    (folder / "deploys/lib/k3s").mkdir(parents=True)
    (folder / "deploys/lib/k3s/nodes.py").write_text("")
    (folder / "inventories").mkdir()
    (folder / "inventories/own.toml").write_text("")
    (folder / "constraints.txt").write_text("")
    (folder / "pyproject.toml").write_text("[project]\nname = 'groundcrew'\nversion = '1'\ndependencies = []\n")
    return folder


def test_the_release_id_changes_with_the_code(tmp_path: Path) -> None:
    root = minimal_repository(tmp_path)
    first = release_id(DEBIAN_12, root)
    (root / "inventories/own.toml").write_text("name = 'an environment is not code'")
    (root / "jobs/__pycache__").mkdir()
    (root / "jobs/__pycache__/x.pyc").write_text("")
    assert release_id(DEBIAN_12, root) == first
    assert release_id(DEBIAN_13_ARM, root) != first
    (root / "jobs/__init__.py").write_text("# changed")
    second = release_id(DEBIAN_12, root)
    assert second != first
    (root / "deploys/lib/k3s/nodes.py").write_text("# changed")
    assert release_id(DEBIAN_12, root) != second, "deploys/lib is part of a release"


def test_the_root_is_that_of_the_repository() -> None:
    assert Path(__file__).is_relative_to(release.ROOT / "tests")
    assert (release.ROOT / "pyproject.toml").is_file()


def test_wheels_are_cached_and_a_partial_folder_is_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = minimal_repository(tmp_path / "root")
    monkeypatch.setattr(release, "CACHE", tmp_path / "wheels")
    commands: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest" if "download" in command else "--wheel-dir") + 1])
        folder.mkdir(exist_ok=True)
        (folder / ("old.tar.gz" if "download" in command else f"{Path(command[-1]).name}.whl")).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    own, others = make_wheels(DEBIAN_12, root)
    assert own.name == "root.whl"
    assert [each.name for each in others] == ["old.tar.gz.whl"], "a source distribution becomes a wheel"
    assert make_wheels(DEBIAN_12, root) == (own, others)
    assert len(commands) == 3
    (root / "jobs/__init__.py").write_text("# changed")
    printed = "x\n  error: invalid command\n  ERROR: Failed building wheel for old\nERROR: Failed to build"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", printed))
    reason = "error: invalid command; ERROR: Failed building wheel for old; ERROR: Failed to build"
    with pytest.raises(DeployError, match=f"can't make the wheels: {reason}; check that it reaches its package index"):
        make_wheels(DEBIAN_12, root)
    assert len(list((tmp_path / "wheels").iterdir())) == 2
