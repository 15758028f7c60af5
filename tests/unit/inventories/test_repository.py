"""Where environments are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories import BadEnvironment, Repository, repository


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(repository, "INSTALLED", tmp_path / "etc")
    monkeypatch.delenv("CREW_ROOT", raising=False)
    return tmp_path / "etc"


def test_from_the_current_folder_upwards(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_root_without_environments_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BadEnvironment, match=rf"--root {tmp_path}: {tmp_path} has no folder inventories/ with \.toml files"
    ):
        Repository.find(tmp_path)
    monkeypatch.setenv("CREW_ROOT", str(tmp_path))
    with pytest.raises(BadEnvironment, match=r"^CREW_ROOT: "):
        Repository.find()


def test_an_installed_host(tmp_path: Path, nothing_installed: Path) -> None:
    with pytest.raises(BadEnvironment, match="neither here nor above is a folder inventories/"):
        Repository.find(start=tmp_path)
    nothing_installed.mkdir()
    (nothing_installed / "staging.toml").write_text('[environment]\nname = "staging"\nx = 1')
    installed = Repository.find(start=tmp_path)
    with pytest.raises(BadEnvironment) as told:
        installed.read("staging")
    assert told.value.lines == (
        f"{nothing_installed}/staging.toml: environment.x: there is no such key; "
        "known here: name, protected, timezone, format",
    )


def test_an_installed_host_has_no_hosts_and_no_stacks_to_ask_for(nothing_installed: Path, tmp_path: Path) -> None:
    nothing_installed.mkdir()
    text = '[environment]\nname = "staging"\n[store]\nurl = "file:///s"\nencrypt_to = "nobody"\n[stacks.network]\n'
    state = '[terraform]\nstate = { bucket = "acme-state", lock = "file" }\n'
    (nothing_installed / "staging.toml").write_text(text + state)
    assert list(Repository.find(start=tmp_path).read("staging").stacks) == ["network"]


def test_an_unknown_environment_lists_those_there_are(root: Path) -> None:
    with pytest.raises(BadEnvironment) as told:
        Repository.find(root).read("prodution")
    assert str(told.value) == (
        "there is no environment prodution; there are production; did you mean production?; "
        "or make it: crew init prodution"
    )
    with pytest.raises(BadEnvironment, match=r"there is no environment \.\./production; there are"):
        Repository.find(root).read("../production")


def test_names_are_of_files_only(root: Path) -> None:
    (root / "inventories" / ".hidden.toml").touch()
    (root / "inventories" / "folder.toml").mkdir()
    (root / "inventories" / "dev.toml").touch()
    assert Repository.find(root).names() == ("dev", "production")
