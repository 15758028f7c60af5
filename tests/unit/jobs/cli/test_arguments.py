"""Finding the repository, the environment and its store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.jobs.cli.conftest import Crew, Write


def test_an_unknown_environment_lists_those_that_exist(crew: Crew, write: Write) -> None:
    write()
    result = crew("status", "rty", "--json")
    assert result.code == 78, result
    assert "try" in result.json["environments"][0]["error"].partition("rty")[2]


def test_outside_of_a_repository_the_error_names_root(
    crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREW_ROOT", raising=False)
    result = crew("status")
    assert result.code == 78, result
    assert "--root" in result.err


def test_root_and_crew_root_lead_to_the_repository(
    crew: Crew, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    monkeypatch.chdir("/")
    result = crew("--root", str(tmp_path), "runs", "try")
    assert result.code == 0, result
    monkeypatch.setenv("CREW_ROOT", str(tmp_path))
    result = crew("runs", "try")
    assert result.code == 0, result


@pytest.mark.usefixtures("count")
def test_an_environment_without_a_store_is_bad_configuration(crew: Crew, write: Write) -> None:
    write(head='[environment]\nname = "try"\n')
    result = crew("run", "count", "try")
    assert result.code == 78, result
    assert "there is no [store]" in result.err
    assert "Add [store] to inventories/try.toml" in result.err
