"""Which repositories need a first backup."""

from __future__ import annotations

import json

from deploys.lib.postgres.archive import repositories_without_backup


def test_a_repository_without_a_backup_gets_one() -> None:
    info = json.dumps([{"name": "main", "backup": [{"database": {"id": 1, "repo-key": 2}}]}])
    assert repositories_without_backup(info, 3) == [1, 3]
    assert repositories_without_backup("[]", 3) == [], "pgBackRest knows no stanza, so the check has failed before"
    assert repositories_without_backup("", 3) == []
