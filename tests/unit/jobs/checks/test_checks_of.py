"""Which checks an environment needs."""

from __future__ import annotations

from pathlib import Path

from inventories import Environment, Repository
from jobs.checks import checks_of, databases, run_checks, warn


def test_everything_in_the_file_has_a_check(environment: Environment) -> None:
    assert {check.name for check in checks_of(environment)} == {
        *("store", "store as backup", "store as retention", "locks", "locks as backup", "locks as retention", "clock"),
        *("encryption", "keys of sets", "signatures", "server main", "database shop", "verify scratch"),
        *("backup main", "backup shop", "backups"),
        *("alerts 1", "alerts 2", "heartbeat backup", "metrics"),
        *("program ssh", "program kubectl", "program zstd", "program age", "program psql"),
        *("secret servers.main.password", "secret alerts.to.1", "secret alerts.to.2"),
        "secret alerts.heartbeat.backup",
    }


def test_without_a_store_there_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "bare").write_text("servers = []\n")
    (tmp_path / "inventories" / "bare.toml").write_text('[environment]\nname = "bare"\n')
    bare = Repository.find(tmp_path).read("bare")
    ((check, result),) = run_checks(checks_of(bare))
    assert check.name == "store"
    assert result == warn("[store] is missing", "add it before you run jobs or take backups")
    assert list(databases.checks(bare)) == []


def test_no_check_of_a_store_without_its_mark_is_ok(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    of_store = ("store", "locks", "clock", "keys of sets", "backups")
    results = {check.name: result for check, result in run_checks(checks_of(environment)) if check.name in of_store}
    assert set(results) == set(of_store)
    assert all("this store was not made for try" in result.fact for result in results.values()), results
