"""Retention runs while a set is read, after a newer set has taken its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs.backup.restore import fill, tables
from tests.parts.crew import Repository
from tests.parts.postgres import Database

READERS = {
    "verify": "backups verify staging shop --set {taken}",
    "restore": "backups restore staging shop --set {taken} --into {into} --create --tables orders",
}


@pytest.mark.parametrize("reader", READERS)
def test_retention_keeps_a_set_while_it_is_read(
    reader: str, repository: Repository, shop: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = shop(15)
    repository.environment(text=repository.section("shop", origin, "keep = { last = 1 }"))
    taken = repository.backup()
    meanwhile = []

    def restore(*args: Any) -> None:
        if not meanwhile:
            repository.backup()
            meanwhile.append(repository.crew("run", "retention", "staging"))
        restore_definitions(*args)

    restore_definitions = fill.restore_definitions
    monkeypatch.setattr(fill, "restore_definitions", restore)
    monkeypatch.setattr(tables, "restore_definitions", restore)
    into = origin.url.replace(origin.name, f"{origin.name}_again")
    ended = repository.crew(*READERS[reader].format(taken=taken, into=into).split())
    assert ended.code == 0, ended
    assert "removed 0 of 2 sets" in meanwhile[0].out
