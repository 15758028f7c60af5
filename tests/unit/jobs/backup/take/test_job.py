"""How many backups run side by side, and whether a set comes from another server."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from inventories import Repository
from jobs.backup.take.job import (
    SMALL_DATABASE,
    comes_from_another_server,
    turn_share,
    with_other_server,
    with_shrinkage,
)
from jobs.run.job import Outcome, Result
from tests.parts.runs import environment

FILE = """
[environment]
name = "staging"
[store]
url = "file:///nowhere"
encrypt_to = "nobody"
sign_with = "nobody"
[servers.main]
url = "postgresql://me@127.0.0.1:1/postgres"
[databases.shop]
url = "postgresql://me@127.0.0.1:1/shop"
parallel = 4
"""
SMALL, BIG = {"dumped_bytes": SMALL_DATABASE - 1, "rows": 3}, {"dumped_bytes": SMALL_DATABASE}


@pytest.mark.parametrize(
    ("name", "earlier", "share"),
    [
        ("main.a", [], Fraction(1)),
        ("main.a", [{"rows": 3}], Fraction(1)),
        ("main.a", [BIG, SMALL], Fraction(1)),
        ("main.a", [SMALL, BIG], Fraction(1, 2)),
        ("shop", [SMALL], Fraction(1, 4)),
        ("shop", [BIG], Fraction(1)),
    ],
)
def test_a_database_that_was_small_takes_the_share_of_one_program(
    tmp_path: Path, name: str, earlier: list[dict[str, object]], share: Fraction
) -> None:
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "staging").write_text("dev_servers = []\n")
    (tmp_path / "inventories" / "staging.toml").write_text(FILE)
    assert turn_share(Repository.find(tmp_path).read("staging"), name, earlier) == share


@pytest.mark.parametrize(
    ("new", "earlier", "other"),
    [
        ("7", [], False),
        ("7", [{"rows": 3}], False),
        ("7", [{"server": "7"}, {"server": "8"}], False),
        ("7", [{"server": "8"}, {"server": "7"}], True),
        ("7", [{"server": ""}, {"server": "8"}], True),
        ("", [{"server": "8"}], False),
    ],
)
def test_a_set_of_another_server(new: str, earlier: list[dict[str, object]], other: bool) -> None:
    assert comes_from_another_server({"server": new}, earlier) is other


def test_a_set_of_another_server_that_shrank_is_one_finding() -> None:
    run: Any = type("Run", (), {"subject": "shop", "environment": environment()})
    shrunk = with_shrinkage(run, Result(Outcome.DONE, "done", {"set": "x"}), "3 rows after 9")
    result = with_other_server(run, shrunk)
    assert result.outcome is Outcome.FINDING
    assert result.sentence == f"{shrunk.sentence}; it comes from another PostgreSQL server than the set before it"
    assert shrunk.notice
    assert result.notice
    assert result.notice.keys == ("shrank x", "server of x")
    assert result.notice.text.startswith(shrunk.notice.text)
    assert "stores its backups as staging/shop." in result.notice.text
