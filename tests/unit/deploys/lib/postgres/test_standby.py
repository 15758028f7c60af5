"""What happens to a host that shall be a standby."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from deploys.lib.postgres import promote, standby
from deploys.lib.postgres.replication import Member, Replication
from deploys.lib.postgres.setup import ManagedServer
from deploys.lib.postgres.standby import StandbyPlan, StandbyState

ONE, TWO = Member("db-1", ("10.0.0.1",)), Member("db-2", ("10.0.0.2",))
STANDBY = Replication(TWO, ONE, (TWO,))
SERVER = ManagedServer(15, "", (), (), None)
FOUND = StandbyState("", False, "", "77", is_standby=True, own_data=True, status="streaming")
FENCED = "db-2 is fenced, because db-1 was promoted in its place; it joins again with deploys/postgres_promote.py"


@pytest.mark.parametrize(
    ("found", "rebuild", "build", "keep", "fault"),
    [
        ({}, False, False, False, ""),
        ({}, True, True, False, ""),
        ({"system": "", "own_data": False}, False, True, False, ""),
        ({"system": ""}, False, False, False, "db-2 has a cluster of its own"),  # its control file is damaged
        ({"system": ""}, True, True, True, ""),
        ({"unfinished": True}, False, True, False, ""),
        ({"system": "88", "own_data": False, "is_standby": False}, False, True, False, ""),
        ({"system": "88"}, False, False, False, "db-2 has a cluster of its own, not a copy of that of db-1"),
        ({"system": "88"}, True, True, True, ""),
        ({"is_standby": False}, False, False, False, "db-2 is no standby: it was a primary of the same cluster"),
        ({"is_standby": False}, True, False, False, "db-2 is no standby"),
        ({"fenced": "db-1", "unfinished": True}, True, False, False, FENCED),
    ],
)
def test_only_what_no_one_needs_is_replaced(
    found: dict[str, Any], rebuild: bool, build: bool, keep: bool, fault: str
) -> None:
    plan = standby.plan_standby("db-2", replace(FOUND, **found), "db-1", "77", rebuild=rebuild)
    assert plan == StandbyPlan(build, keep, plan.fault)
    assert plan.fault.startswith(fault)
    assert bool(plan.fault) == bool(fault)


@pytest.mark.parametrize(
    ("lines", "is_primary", "expected"),
    [
        ([], True, ""),
        (["standby"], False, ""),
        (["fenced db-2"], False, ""),
        (["standby"], True, "db-1 is a standby; move it to postgres_standbys, or promote it"),
        (["fenced db-2", "standby"], True, "move db-2 to postgres_servers and db-1 to postgres_standbys"),
    ],
)
def test_a_host_has_the_role_that_the_inventory_gives_it(lines: list[str], is_primary: bool, expected: str) -> None:
    faults = standby.in_place_faults("db-1", lines, is_primary=is_primary)
    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


@pytest.mark.parametrize(
    "script",
    [
        standby.build_script(STANDBY, SERVER, "/kept", from_repository=False),
        standby.guard_script(STANDBY, 15),
        promote.rejoin_script(STANDBY, SERVER),
        promote.fence_script("db-2", 15),
        promote.unfence_script(15),
        promote.member_command(15),
    ],
)
def test_scripts_are_valid_and_have_no_password(script: str) -> None:
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert "PGPASSWORD" not in script


def test_a_primary_measures_each_of_its_standbys() -> None:
    service = standby.metric_units(Replication(ONE, ONE, (TWO,)))[
        f"{standby.UNITS}/groundcrew-replication-metrics.service"
    ]
    assert "postgres-replication-metrics db-2=groundcrew_db_2 > " in service
