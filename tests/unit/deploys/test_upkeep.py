"""What keeps a dev server in order, as files."""

from __future__ import annotations

import json

import pytest

from deploys.early import DeployError
from deploys.upkeep import CHECKS, DOCKER, Upkeep


def test_docker_is_set_up_as_we_have_it_and_as_one_likes() -> None:
    upkeep = Upkeep.of({"containers": "docker", "docker_settings": {"live-restore": False, "mtu": 1400}}, "dev-1")
    assert json.loads(upkeep.files[DOCKER]) == {
        "live-restore": False,
        "log-driver": "local",
        "log-opts": {"max-file": "5", "max-size": "20m"},
        "mtu": 1400,
    }
    assert upkeep.units["docker.service"].files == [DOCKER]
    assert CHECKS[DOCKER].format("/new").endswith("dockerd --validate --config-file=/new; }")


@pytest.mark.parametrize("containers", ["", "podman"])
def test_nobody_else_gets_docker(containers: str) -> None:
    upkeep = Upkeep.of({"containers": containers}, "dev-1")
    assert DOCKER not in upkeep.files
    assert "docker.service" not in upkeep.units
    assert any("registries.conf" in file for file in upkeep.files) == (containers == "podman")


def test_all_faults_are_told() -> None:
    with pytest.raises(DeployError) as told:
        Upkeep.of({"containers": "lxc", "swap": "lots", "workspaces": "here", "docker_settings": ["x"]}, "dev-1")
    assert str(told.value).count("dev-1: ") == 4
