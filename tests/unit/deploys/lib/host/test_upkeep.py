"""What keeps a dev server in order, as files."""

from __future__ import annotations

import json

import pytest

from deploys.lib.host.upkeep import CHECKS, DOCKER, Upkeep, faults_of_swap, swap_commands
from deploys.lib.preflight import DeployError


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


@pytest.mark.parametrize(
    ("size", "room", "said"),
    [
        ("", ["10"], []),
        ("4G", [], []),  # it is there already
        ("4G", ["6096"], []),
        ("4G", ["2000", "4096"], []),  # what a killed run has taken will be taken over
        ("4G", ["6095"], ["swap: 4G, but 6095 MiB are free on the disk of /swapfile, and 2000 are to stay free; "
                          "make room, or name a smaller swap"]),
    ],
)  # fmt: skip
def test_a_swap_file_that_has_no_room(size: str, room: list[str], said: list[str]) -> None:
    assert list(faults_of_swap(size, room, 2000)) == said


def test_a_swap_file_is_made_whole_or_not_at_all() -> None:
    assert swap_commands("") == []
    assert swap_commands("64M") == [
        "umask 077 && fallocate --length 64M /swapfile.new && mkswap /swapfile.new && mv /swapfile.new /swapfile || "
        "{ rm --force /swapfile.new; exit 1; }"
    ]
