"""Which upgrades of PostgreSQL are possible, and the script that makes them."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from deploys.lib.postgres.upgrade import (
    NoUpgrade,
    UpgradeRequest,
    upgrade_faults,
    upgrade_request,
    upgrade_script,
    version_to_upgrade,
)


@pytest.mark.parametrize(
    ("existing", "unfinished", "wanted", "expected"),
    [
        ([15], [], 0, 15),
        ([17], [], 0, 0),
        ([15, 17], [], 0, 0),
        ([15, 17], [15, 17], 0, 15),
        ([15, 16], [], 15, 15),
        ([15, 16], [], 0, "the host has PostgreSQL 15, 16; choose one with --data from=16"),
        ([18], [], 0, "the host has PostgreSQL 18, and postgres_version is 17; it can't go back"),
        ([], [], 0, "there is no server of PostgreSQL an older version to upgrade (it has: none)"),
        ([15], [], 16, "there is no server of PostgreSQL 16 to upgrade (it has: 15)"),
        ([15, 16], [15, 16], 0, "an upgrade from 15 to 16 is unfinished; first finish it with postgres_version = 16"),
    ],
)
def test_a_host_leaves_its_only_other_version(
    existing: list[int], unfinished: list[int], wanted: int, expected: int | str
) -> None:
    if isinstance(expected, int):
        assert version_to_upgrade(17, existing, unfinished, wanted) == expected
        return
    with pytest.raises(NoUpgrade) as refused:
        version_to_upgrade(17, existing, unfinished, wanted)
    assert str(refused.value) == expected


@pytest.mark.parametrize(
    ("data", "has_pitr", "expected"),
    [
        ({}, False, []),
        ({"mode": "copy", "backup": "taken", "from": "15"}, False, []),
        ({"mode": "link"}, True, []),
        ({"mode": "back"}, False, []),
        ({"mode": "link"}, False, ["an upgrade needs a backup to return to: take one with `crew run backup`"]),
        (
            {"mode": "clone", "backup": "yes", "from": "15.2"},
            True,
            ["mode: 'clone' is not allowed", "from: '15.2' is not", "backup: 'yes' is not allowed"],
        ),
    ],
)
def test_each_mistake_in_the_options_is_a_fault(data: dict[str, Any], has_pitr: bool, expected: list[str]) -> None:
    faults = list(upgrade_faults(data, has_pitr=has_pitr, has_standbys=False))
    assert len(faults) == len(expected)
    assert all(fault.startswith(start) for fault, start in zip(faults, expected, strict=True))


def test_a_server_with_standbys_is_refused() -> None:
    (fault,) = upgrade_faults({}, has_pitr=True, has_standbys=True)
    assert fault.startswith("standbys can't follow an upgrade: take them out of postgres_standbys")


def test_a_run_without_options_only_checks() -> None:
    assert upgrade_request({}) == UpgradeRequest("check", 0, False)


@pytest.mark.parametrize("stanza", ["", "main"])
def test_the_script_is_shell_and_has_its_variables(stanza: str) -> None:
    script = upgrade_script(15, 17, "copy", stanza)
    assert script.startswith("old=15\nnew=17\nmode=copy\n")
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
