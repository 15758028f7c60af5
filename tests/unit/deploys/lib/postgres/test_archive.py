"""Which repositories accept a server, and which need a first backup."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploys.lib.postgres.archive import TAKEN, accept_command, repositories_without_backup


def test_a_repository_without_a_backup_gets_one() -> None:
    info = json.dumps([{"name": "main", "backup": [{"database": {"id": 1, "repo-key": 2}}]}])
    assert repositories_without_backup(info, 3) == [1, 3]
    assert repositories_without_backup("[]", 3) == [], "pgBackRest knows no stanza, so the check has failed before"
    assert repositories_without_backup("", 3) == []


EMPTY = [{"name": "main", "backup": [], "status": {"code": 1}}]
USED = [{"name": "main", "backup": [{"label": "20261129-030000F"}]}]


@pytest.mark.parametrize(
    ("info", "known", "output", "created"),
    [(EMPTY, False, "", True), (USED, False, TAKEN, False), (USED, True, "", True), ("no route", False, "", True)],
)
def test_a_host_without_configuration_gets_no_stanza_that_has_backups(
    tmp_path: Path, info: object, known: bool, output: str, created: bool
) -> None:
    (tmp_path / "runuser").write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    (tmp_path / "info").write_text(json.dumps(info))
    own = f"--config={tmp_path}/new --stanza=main --io-timeout=10"
    (tmp_path / "pgbackrest").write_text(
        f"#!/bin/sh\ncase \"$*\" in\n'{own} --output=json info') cat {tmp_path}/info ;;\n"
        f"'{own} --no-online stanza-create') touch {tmp_path}/created ;;\n*) exit 9 ;;\nesac\n"
    )
    for program in ("runuser", "pgbackrest"):
        (tmp_path / program).chmod(0o755)
    command = accept_command("main", is_known=known).format(f"{tmp_path}/new")
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", command], env=path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr, done.returncode == 0) == (output, "", created)
    assert (tmp_path / "created").exists() == created
