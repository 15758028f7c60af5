"""`crew kubeconfig`, with a kubectl that signs as a cluster does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs import kubeconfig
from tests.unit.jobs.cli.conftest import Crew, Write
from tests.unit.jobs.test_kubeconfig import Signer


@pytest.fixture(autouse=True)
def signer(monkeypatch: pytest.MonkeyPatch, write: Write) -> Signer:
    made = Signer()

    def through(environment: str, **options: Any) -> Signer:
        assert environment == "try"
        return made

    monkeypatch.setattr(kubeconfig, "kubectl_through", through)
    write()
    return made


def test_it_prints_the_kubeconfig_and_nothing_else_on_stdout(crew: Crew) -> None:
    result = crew("kubeconfig", "try", "ada")
    assert result.code == 0, result
    assert json.loads(result.out)["current-context"] == "try"
    assert "ada has edit in namespace shop." in result.err
    assert "It expires at 20" in result.err


def test_a_file_is_for_its_owner_alone(crew: Crew, tmp_path: Path) -> None:
    file = tmp_path / "ada.yaml"
    file.write_text("old")
    file.chmod(0o644)
    result = crew("kubeconfig", "try", "ada", "--hours", "1", "--output", str(file), "--json")
    assert result.code == 0, result
    assert result.json["written"] == str(file)
    assert result.json["kubeconfig"] is None
    assert result.json["roles"] == {"shop": ["edit"], "*": ["view"]}
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["users"]
    assert [each for each in tmp_path.iterdir() if each.name.startswith(".ada")] == []


def test_a_dry_run_asks_for_no_certificate(crew: Crew, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Signer, "sign")
    result = crew("kubeconfig", "try", "ada", "--dry-run")
    assert (result.code, result.out) == (0, ""), result
    assert "Would issue a kubeconfig for 8 h." in result.err
    assert signer.requests == {}


def test_someone_unknown_is_an_error(crew: Crew) -> None:
    result = crew("kubeconfig", "try", "eve")
    assert result.code == 1
    assert "Add them to users or viewers of a namespace in k3s_namespaces, or to k3s_admins" in result.err
