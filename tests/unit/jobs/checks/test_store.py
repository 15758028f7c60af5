"""The store checks against stores that misbehave in one way each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from inventories import Repository
from jobs.checks import CheckVerdict
from jobs.checks.check import result_of
from jobs.checks.store import check_access, check_clock, checks, judge_lock, judge_skew
from jobs.store import Denied, LockProof, Store, mark_key
from tests.parts.store import mark


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return mark(tmp_path / "store", "try")


class Misbehaving:
    """A store with some methods replaced."""

    def __init__(self, store: Store, **replaced: Any) -> None:
        self._store, self._replaced = store, replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(self._store, name)


def test_a_store_is_written_read_and_listed_and_nothing_is_deleted(store: Store) -> None:
    def delete(keys: object) -> None:
        raise Denied("no right to delete")

    undeletable = cast(Store, Misbehaving(store, delete=delete))
    for _ in range(2):
        result = check_access(undeletable, "try", "backup")
        assert result.verdict is CheckVerdict.OK, result
    assert [entry.key for entry in store.list()] == ["try/check/backup", mark_key("try")]


@pytest.mark.parametrize(
    ("name", "why"), [("nosuch", "directory {directory} does not exist"), ("file", "{directory} is not a directory")]
)
def test_a_directory_that_is_not_there_is_reported_and_not_created(tmp_path: Path, name: str, why: str) -> None:
    why = (
        f"store.url: {why.format(directory=tmp_path / name)}; mount its disk, or correct the URL. "
        "To make a new store there: crew check try --create"
    )
    (tmp_path / "file").touch()
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "try").touch()
    text = f'[environment]\nname = "try"\n[store]\nurl = "file://{tmp_path}/{name}"\nencrypt_to = "nobody"\n'
    (tmp_path / "inventories" / "try.toml").write_text(text)
    results = [result_of(check) for check in checks(Repository.find(tmp_path).read("try"))]
    assert {(result.verdict, result.fact) for result in results} == {(CheckVerdict.FAULT, why)}
    assert not (tmp_path / "nosuch").exists()


def test_a_store_that_returns_other_content_is_a_fault(store: Store) -> None:
    stale = cast(Store, Misbehaving(store, get=lambda key: SimpleNamespace(body=b"stale")))
    assert "returned different content" in str(check_access(stale, "try", None))
    forgetful = cast(Store, Misbehaving(store, list=lambda prefix: iter(())))
    assert "does not list" in str(check_access(forgetful, "try", None))


def test_the_clock_is_compared_with_the_stores(store: Store) -> None:
    assert check_clock(store, "try").verdict is CheckVerdict.OK
    late = SimpleNamespace(key="try/check/clock", modified=datetime.now(UTC) - timedelta(hours=1))
    ahead = check_clock(cast(Store, Misbehaving(store, list=lambda prefix: iter([late]))), "try")
    assert ahead.verdict is CheckVerdict.FAULT
    assert "s ahead of the store's clock" in ahead.fact


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (0, CheckVerdict.OK),
        (-9, CheckVerdict.OK),
        (30, CheckVerdict.WARN),
        (-30, CheckVerdict.WARN),
        (400, CheckVerdict.FAULT),
    ],
)
def test_a_small_clock_difference_is_accepted(seconds: int, verdict: CheckVerdict) -> None:
    assert judge_skew(timedelta(seconds=seconds)).verdict is verdict


@pytest.mark.parametrize(
    ("proof", "verdict", "fact"),
    [
        (LockProof(has_versions=True, refused=True, lifted=False), "ok", "the store keeps versions and refuses"),
        (LockProof(has_versions=True, refused=True, lifted=True), "warn", "take s3:BypassGovernanceRetention away"),
        (LockProof(has_versions=True, refused=False, lifted=False), "fault", "the store deleted a locked object"),
        (LockProof(has_versions=False, refused=False, lifted=False), "fault", "enable versioning"),
    ],
)
def test_the_verdict_on_object_lock(proof: LockProof, verdict: str, fact: str) -> None:
    result = judge_lock(proof)
    assert (result.verdict, fact in str(result)) == (verdict, True), result
