"""How many backups run side by side."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from inventories import Repository
from jobs.backup.take.job import SMALL_DATABASE, turn_share

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
