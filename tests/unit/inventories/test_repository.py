"""Find the repository and its environments."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories import BadEnvironment, Repository, repository


@pytest.fixture(autouse=True)
def installed_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(repository, "INSTALLED", tmp_path / "etc")
    monkeypatch.delenv("CREW_ROOT", raising=False)
    return tmp_path / "etc"


def test_the_nearest_parent_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "terraform" / "stacks" / "network")
    assert Repository.find() == Repository(root, root / "inventories")
    assert Repository.find(start=root / "inventories") == Repository(root, root / "inventories")


def test_crew_root_comes_before_the_current_folder(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "inventories").mkdir()
    (other / "inventories" / "qa.toml").touch()
    monkeypatch.chdir(root)
    monkeypatch.setenv("CREW_ROOT", str(other))
    assert Repository.find().names() == ("qa",)
    assert Repository.find(root).names() == ("production",)


def test_a_root_without_environments_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BadEnvironment, match=rf"--root {tmp_path}: {tmp_path} has no directory inventories/ with \.toml files"
    ):
        Repository.find(tmp_path)
    monkeypatch.setenv("CREW_ROOT", str(tmp_path))
    with pytest.raises(BadEnvironment, match=r"^CREW_ROOT: "):
        Repository.find()


def test_an_installed_host(tmp_path: Path, installed_folder: Path) -> None:
    with pytest.raises(BadEnvironment, match=r"no directory inventories/ with .toml files in"):
        Repository.find(start=tmp_path)
    installed_folder.mkdir()
    (installed_folder / "staging.toml").write_text('[environment]\nname = "staging"\nx = 1')
    installed = Repository.find(start=tmp_path)
    with pytest.raises(BadEnvironment) as caught:
        installed.read("staging")
    assert caught.value.lines == (
        f"{installed_folder}/staging.toml: environment.x: unknown key; use one of: name, protected, timezone, format",
    )


def test_an_installed_host_needs_no_hosts_file_and_no_stack_folders(installed_folder: Path, tmp_path: Path) -> None:
    installed_folder.mkdir()
    text = '[environment]\nname = "staging"\n[store]\nurl = "file:///s"\nencrypt_to = "nobody"\n[stacks.network]\n'
    state = '[terraform]\nstate = { bucket = "acme-state", lock = "file" }\n'
    (installed_folder / "staging.toml").write_text(text + state)
    assert list(Repository.find(start=tmp_path).read("staging").stacks) == ["network"]


def test_an_unknown_environment_lists_the_existing_ones(root: Path) -> None:
    with pytest.raises(BadEnvironment) as caught:
        Repository.find(root).read("prodution")
    assert str(caught.value) == (
        "environment prodution does not exist (existing: production); did you mean production, "
        "or create it with: crew init prodution"
    )
    with pytest.raises(BadEnvironment, match=r"environment \.\./production does not exist"):
        Repository.find(root).read("../production")


def test_names_come_from_files_only(root: Path) -> None:
    (root / "inventories" / ".hidden.toml").touch()
    (root / "inventories" / "folder.toml").mkdir()
    (root / "inventories" / "dev.toml").touch()
    assert Repository.find(root).names() == ("dev", "production")
