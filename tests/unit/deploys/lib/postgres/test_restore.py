"""What a restore asks for and refuses, and its script."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from deploys.lib.postgres import restore
from deploys.lib.postgres.reachable import PhysicalBackup, Reachable, Target
from deploys.lib.postgres.restore import RestoreRequest, RestoreState
from deploys.lib.preflight import DeployError

if TYPE_CHECKING:
    from pyinfra.api.host import Host

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
GIB = 1024**3
FOUND = RestoreState(unfinished=False, kept="", opened="", system="77", running=True, free=100 * GIB, fixed=False)
BACKUP = PhysicalBackup(1, "20261129-030000F", "full", NOW - timedelta(days=1), 20 * GIB)
REACHABLE = Reachable("15", frozenset({"77"}), (BACKUP,), {})
ASKED = RestoreRequest("latest", Target("latest"), "", "", replace_old=False, other_server_stopped=False)


def test_options_are_read_and_all_mistakes_are_named() -> None:
    assert restore.request_of_data({"to": "latest"}) == ASKED
    assert restore.request_of_data({"to": "?"}).target is None
    with pytest.raises(DeployError) as raised:
        restore.request_of_data({"backup": "x", "timeline": "x", "old": "delete", "old_server": "yes"})
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "to is missing",
        "backup",
        "timeline",
        "old",
        "old_server",
    ]


def test_a_run_restores_one_server() -> None:
    shown = restore.request_of_data({"to": "?"})
    assert list(restore.several_servers_faults(["db-1"], ASKED)) == []
    assert list(restore.several_servers_faults(["db-1", "db-2"], shown)) == []
    assert list(restore.several_servers_faults(["db-1", "db-2"], ASKED)) == [
        "to=latest would stop and restore db-1, db-2; name the one to restore: --limit db-1"
    ]


def test_a_listing_that_fails_is_no_empty_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timelines would be missing then, and a restore to a moment could follow the wrong one."""
    stanza = {
        "repo": [{"key": 1, "status": {"code": 0, "message": "ok"}}],
        "db": [{"version": "15", "system-id": 77}],
        "archive": [{"database": {"repo-key": 1}, "id": "15-1", "max": f"{3:024X}"}],
    }
    answers = iter([(True, [json.dumps([stanza])]), (False, ["P00  ERROR: [049]: timeout after 10000ms"])])
    monkeypatch.setattr(restore, "run_silently", lambda *_: next(answers))
    pitr: Any = SimpleNamespace(stanza="main")
    with pytest.raises(restore.RestoreRefused, match=r"15-1/0{16} of repository 1:\n.*timeout after 10000ms"):
        restore.read_reachable(cast("Host", None), pitr)


@pytest.mark.parametrize(
    ("code", "message", "lost"),
    [(0, "ok", False), (2, "no valid backups", False), (99, "[HostConnectError] timeout", True)],
)
def test_a_restore_reads_each_repository_or_says_how_to_leave_out_a_lost_one(
    monkeypatch: pytest.MonkeyPatch, code: int, message: str, lost: bool
) -> None:
    repositories = [{"key": 1, "status": {"code": 0, "message": "ok"}}]
    repositories.append({"key": 2, "status": {"code": code, "message": message}})
    stanza = {"status": {"code": 4, "message": "different across repos"}, "repo": repositories, "db": []}
    monkeypatch.setattr(restore, "run_silently", lambda *_: (True, [json.dumps([stanza])]))
    pitr: Any = SimpleNamespace(stanza="main")
    if not lost:
        assert restore.read_reachable(cast("Host", None), pitr)[1] == {}
        return
    with pytest.raises(restore.RestoreRefused, match=r"repository 2: .HostConnectError. timeout\nIf one is lost"):
        restore.read_reachable(cast("Host", None), pitr)


@pytest.mark.parametrize(
    ("found", "asked", "hours", "expected"),
    [
        ({}, {}, 0, ""),
        ({"system": "88"}, {}, 5, "another server archived to this stanza, the last time at 2026-11-29 22:00:00 UTC"),
        ({"system": "88"}, {"other_server_stopped": True}, 5, ""),
        ({"system": "88"}, {}, 99, "two servers can't share one; stop it"),  # it runs, but has no writes
        ({"system": ""}, {}, 0, "two servers can't share one; stop it"),
        ({"free": 21 * GIB}, {}, 0, "the disk has 21.0 GiB free, and the restored cluster needs 22.0"),
        ({"free": 21 * GIB}, {"replace_old": True}, 0, ""),
        ({"free": 0, "unfinished": True}, {}, 0, ""),
        ({"fixed": True}, {}, 0, "the data directory is a link or mount point, or has tablespaces"),
        ({"fixed": True}, {"replace_old": True}, 0, ""),
    ],
)
def test_the_state_of_a_host_can_forbid_a_restore(
    found: dict[str, Any], asked: dict[str, Any], hours: int, expected: str
) -> None:
    newest = NOW - timedelta(hours=hours)
    faults = list(restore.state_faults(replace(FOUND, **found), replace(ASKED, **asked), REACHABLE, newest))
    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


@pytest.mark.parametrize(
    ("opened", "continued"),
    [("", True), ("latest", True), ("2026-11-29 14:03:10", False)],
)
def test_a_cluster_that_an_unfinished_restore_has_opened_is_kept_by_a_restore_to_another_target(
    opened: str, continued: bool
) -> None:
    found = replace(FOUND, unfinished=True, kept="/kept", opened=opened)
    state = restore.as_new_restore(found, ASKED)
    assert (state.unfinished, state.kept) == ((True, "/kept") if continued else (False, ""))


def test_the_old_cluster_is_kept_beside_unless_it_is_replaced() -> None:
    assert restore.kept_folder(15, NOW, replace=False) == "/var/lib/postgresql/15/main.before-20261130T030000Z"
    assert restore.kept_folder(15, NOW, replace=True) == ""


def test_the_script_is_valid_and_quotes_its_values() -> None:
    script = restore.restore_script(15, "main", "2026-11-29 14:03:10", "/kept", ["--type=time", "--target=a b"])
    assert script.startswith("to='2026-11-29 14:03:10'\ndata=/var/lib/postgresql/15/main\nkeep=/kept\n")
    assert """restore='pgbackrest --stanza=main --delta --type=time '"'"'--target=a b'"'"' restore'\n""" in script
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
