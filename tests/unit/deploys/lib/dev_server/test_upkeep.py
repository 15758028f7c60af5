"""The files and units of a host's upkeep, and the faults in its group data."""

from __future__ import annotations

import json

import pytest

from deploys.lib.dev_server.upkeep import CHECKS, DOCKER, Upkeep, swap_commands, swap_faults
from deploys.lib.preflight import DeployError


def test_docker_settings_override_the_defaults() -> None:
    upkeep = Upkeep.from_group_data(
        {"containers": "docker", "docker_settings": {"live-restore": False, "mtu": 1400}}, "dev-1"
    )
    assert json.loads(upkeep.files[DOCKER]) == {
        "live-restore": False,
        "log-driver": "local",
        "log-opts": {"max-file": "5", "max-size": "20m"},
        "mtu": 1400,
    }
    assert upkeep.units["docker.service"].files == [DOCKER]
    assert CHECKS[DOCKER].format("/new").endswith("dockerd --validate --config-file=/new; }")


@pytest.mark.parametrize("containers", ["", "podman"])
def test_docker_is_set_up_only_where_it_is_chosen(containers: str) -> None:
    upkeep = Upkeep.from_group_data({"containers": containers}, "dev-1")
    assert DOCKER not in upkeep.files
    assert "docker.service" not in upkeep.units
    assert any("registries.conf" in file for file in upkeep.files) == (containers == "podman")


def test_one_error_lists_all_faults() -> None:
    with pytest.raises(DeployError) as error:
        Upkeep.from_group_data(
            {"containers": "lxc", "swap": "lots", "workspaces": "relative", "docker_settings": ["x"]}, "dev-1"
        )
    assert str(error.value).count("dev-1: ") == 4, error.value


@pytest.mark.parametrize(
    ("size", "available", "expected"),
    [
        ("", ["10"], []),
        ("4G", [], []),  # the swap file exists
        ("4G", ["6096"], []),
        ("4G", ["2000", "4096"], []),  # an unfinished swap file will be overwritten
        ("4G", ["6095"], ["swap: 4G does not fit: the disk of /swapfile has 6095 MiB free, and 2000 MiB must "
                          "stay free; free some space, or set a smaller swap"]),
    ],
)  # fmt: skip
def test_a_swap_file_must_fit_on_the_disk(size: str, available: list[str], expected: list[str]) -> None:
    assert list(swap_faults(size, available, 2000)) == expected


def test_a_failed_swap_file_is_removed() -> None:
    assert swap_commands("") == []
    assert swap_commands("64M") == [
        "umask 077 && fallocate --length 64M /swapfile.new && mkswap /swapfile.new && mv /swapfile.new /swapfile || "
        "{ rm --force /swapfile.new; exit 1; }"
    ]
