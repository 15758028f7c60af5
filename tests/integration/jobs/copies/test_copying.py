"""Copies between a directory, SeaweedFS and AWS's emulator, and copies that are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.retention.job import RETENTION
from jobs.run import Options, Outcome, run_job
from jobs.store import ListedKey
from jobs.store.directory import DirectoryStore
from jobs.store.s3 import S3Store
from tests.parts.copies import Place, TwoPlaces, two_places
from tests.parts.s3 import Bucket, with_object_lock
from tests.parts.signed_sets import write_set
from tests.parts.signing import SET_SIGNER

ROOT = Path(__file__).parents[4]
NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
COPIES = """
import sys
from pathlib import Path
from tests.parts.copies import opened_places
places = opened_places(Path(sys.argv[1]), "staging")
print("ready", flush=True)
places.run()
"""


def fill(places: TwoPlaces, count: int, size: int) -> None:
    """Write sets whose parts are random bytes, so that they do not shrink."""
    for days in range(count):
        at = NEWEST - timedelta(days=days)
        write_set(places.store, SET_SIGNER, at, content=os.urandom(size), rest=os.urandom(size))


KINDS = ["seaweed directory", "directory seaweed", "directory moto", "moto directory", "moto seaweed"]


@pytest.mark.parametrize("kinds", map(str.split, KINDS), ids=KINDS)
def test_sets_are_copied_from_one_kind_of_store_to_another_without_the_right_to_delete(
    kinds: list[str], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place(kind: str) -> Place:
        bucket: Place = tmp_path / "directory" if kind == "directory" else request.getfixturevalue(kind)
        return bucket

    def refuse(*_: object) -> None:
        raise AssertionError("a copy deletes nothing")

    places = two_places(tmp_path, "", "staging", *map(place, kinds))
    fill(places, 2, 9 << 20)  # more than one part of an upload
    for store in (DirectoryStore, S3Store):
        for name in ("delete", "purge_versions"):
            monkeypatch.setattr(store, name, refuse)
    record = places.run()
    assert record.outcome is Outcome.DONE, record.sentence
    assert record.figures["copied_sets"] == 2
    assert places.set_keys() == places.set_keys(copied=False)
    assert len(places.copied_sets()) == 2
    assert places.run().figures["copied_bytes"] == 0


def test_a_copy_has_a_lock_of_its_own_and_its_retention_keeps_what_is_locked(seaweed: Bucket, tmp_path: Path) -> None:
    lines = 'lock = "10d"\nkeep = { daily = 1 }'
    places = two_places(tmp_path, lines, "staging", tmp_path / "directory", with_object_lock(seaweed))
    write_set(places.store, SET_SIGNER, NEWEST)
    assert places.run().outcome is Outcome.DONE
    locks = {key: places.copy.object_lock(key) for key in places.set_keys()}
    assert all(lock and lock.until - NEWEST > timedelta(days=10) for lock in locks.values()), locks
    newer = write_set(places.store, SET_SIGNER, NEWEST + timedelta(days=1))
    assert places.run().outcome is Outcome.DONE
    (record,) = run_job(RETENTION, places.environment, places.store, Options(only=("offsite.shop",)))
    assert record.outcome is Outcome.DONE, record.sentence
    assert "removed 0 of 2 sets" in record.sentence
    assert "kept by object lock alone: 1 set" in record.sentence
    assert len(places.copied_sets()) == 2, newer


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.release)])
def test_a_copy_that_is_killed_at_random_moments_completes_and_copies_nothing_twice(kills: int, tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    print(f"CHAOS_SEED={seed}")
    chances = random.Random(seed)
    places = two_places(tmp_path, "", "staging")
    fill(places, 1 + kills // 2, 4 << 20)
    complete: dict[str, ListedKey] = {}
    for _ in range(kills):
        kill_a_copy(tmp_path, chances.uniform(0, 0.4))
        places.copied_sets()  # each complete set is whole
        now = {entry.key: entry for entry in places.copy.list("staging/backups/")}
        assert complete.items() <= now.items(), "what is there is not written again"
        complete = {key: entry for key, entry in now.items() if key.endswith((".0", ".json"))}
        places.store.delete(["staging/locks/copy/offsite.shop.json"])
    record = places.run()
    assert record.outcome is Outcome.DONE, record.sentence
    assert places.set_keys() == places.set_keys(copied=False)
    assert len(places.copied_sets()) == 1 + kills // 2


def kill_a_copy(folder: Path, seconds: float) -> None:
    """Start a copy in a process of its own, and kill it so many seconds after it began."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    copying = subprocess.Popen(
        [sys.executable, "-c", COPIES, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    with copying:
        assert copying.stdout is not None
        assert copying.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        copying.kill()
