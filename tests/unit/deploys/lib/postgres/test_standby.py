"""What happens to a host that shall be a standby."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
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
        ({"is_standby": False}, False, False, False, "db-2 is not a standby: it was a primary of the same cluster"),
        ({"is_standby": False}, True, False, False, "db-2 is not a standby"),
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


PROMOTED = "PostgreSQL is not started: db-2 was promoted in place of this server"
UNSURE = "PostgreSQL starts, but these servers did not answer: db-2. Check with deploys/postgres_promote.py that none"


@pytest.mark.parametrize(
    ("system", "unreachable", "patience", "theirs", "others", "said"),
    [
        ("running", 0, 30, "7|1", [], []),
        ("running", 0, 30, "7|2", [], [PROMOTED]),
        ("running", 0, 30, "8|2", [], []),  # it is another cluster
        ("running", 2, 30, "7|2", [], [UNSURE]),  # nothing answers, and the network is up for long
        ("starting", 2, 30, "7|2", [], ["waiting up to 30 s for db-2", PROMOTED]),  # the network comes up meanwhile
        ("starting", 2, 0, "7|2", [], ["waiting up to 0 s for db-2", UNSURE]),
        ("starting", 2, 30, "7|2", ["db-3"], ["waiting up to 30 s for db-2", PROMOTED]),  # db-3 has the old timeline
        ("starting", 2, 30, "7|1", ["db-3"], ["waiting up to 30 s for db-2"]),
        ("running", 2, 30, "7|2", ["db-3"], [UNSURE]),
        ("running", 2, 30, "7|2", ["gone"], [UNSURE.replace("db-2", "db-2, gone")]),
    ],
)
def test_a_server_asks_the_others_before_it_starts(
    tmp_path: Path, system: str, unreachable: int, patience: int, theirs: str, others: list[str], said: list[str]
) -> None:
    """The guard runs with stand-ins for the programs that it calls; the server is of cluster 7, on timeline 1."""
    control = "Database system identifier: 7\nLatest checkpoint's TimeLineID: 1\n"
    asked = f'echo >> {tmp_path}/asked; [ "$(wc -l < {tmp_path}/asked)" -gt {unreachable} ] && echo "{theirs}"'
    answers = f'*host=db-2*) {asked} ;; *host=db-3*) echo "7|1" ;; *host=*) ;;'
    for name, line in {
        "pg_controldata": f'printf "{control}"',
        "runuser": f'case "$*" in {answers} *) shift 3; exec "$@" ;; esac',
        "systemctl": f"echo {system}",
        "sleep": ":",
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    fenced, peers = tmp_path / "fenced", "\n".join(f"{each}|host={each}" for each in ["db-2", *others])
    words = {"data": tmp_path, "fenced": fenced, "programs": tmp_path, "peers": peers, "patience": patience}
    variables = standby.shell_variables({name: str(word) for name, word in words.items()})
    script = variables + Path(standby.__file__).with_name("guard.sh").read_text()
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = subprocess.run(["sh"], input=script, env={"PATH": path}, capture_output=True, text=True, check=False)
    lines, is_fenced = ran.stderr.splitlines(), PROMOTED in said
    assert len(lines) == len(said), ran.stderr
    assert all(line.startswith(f"groundcrew: {start}") for line, start in zip(lines, said, strict=True)), ran.stderr
    assert (ran.returncode, fenced.exists()) == (int(is_fenced), is_fenced)
    assert (tmp_path / "standby.signal").exists() == is_fenced
