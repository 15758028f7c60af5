"""An environment with a store and a copy of it, in directories or buckets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from inventories import Environment, Repository
from jobs.backup.sets.sets import Set, find_sets
from jobs.backup.sets.stored import open_set, read_piece
from jobs.copies.job import COPY
from jobs.run import Options, RunTimeouts, run_job
from jobs.run.record import Record
from jobs.store import Store, make_store, open_store
from tests.parts.s3 import Bucket
from tests.parts.signing import PUBLIC_LINES

ONCE = RunTimeouts(work_retries=(), store_retries=())
FILE = """
[environment]
name = "{name}"
[store]
{store}
encrypt_to = "nobody"
trust = {trust}
[copies.offsite]
{copy}
at = "0 8 * * *"
{lines}
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
keep = {{ daily = 2 }}
"""

Place = Path | Bucket


@dataclass(frozen=True)
class TwoPlaces:
    """A store, its copy, and their environment."""

    environment: Environment
    store: Store
    copy: Store

    def run(self, *only: str, dry_run: bool = False) -> Record:
        """Copy what is missing, and return the only record."""
        (record,) = self.run_all(*only, dry_run=dry_run)
        return record

    def run_all(self, *only: str, dry_run: bool = False) -> list[Record]:
        return run_job(COPY, self.environment, self.store, Options(only=only, dry_run=dry_run), timeouts=ONCE)

    def set_keys(self, *, copied: bool = True) -> list[str]:
        """Return the keys of all sets in the copy, or in the store."""
        store = self.copy if copied else self.store
        return [entry.key for entry in store.list(f"{self.environment.name}/backups/")]

    def copied_sets(self) -> list[Set]:
        """Return the complete sets of the copy, after reading every piece of each."""
        complete = [each for each in find_sets(self.copy, self.environment) if each.complete]
        for each in complete:
            stored = open_set(self.copy, each, None)
            for part in stored.manifest.parts:
                for piece in part.pieces:
                    for _ in read_piece(stored, part, piece, lambda: None):
                        pass
        return complete


def two_places(folder: Path, lines: str = "", name: str = "try", *places: Place) -> TwoPlaces:
    """Write an environment file and make its store and its copy; `lines` are further keys of the copy."""
    store, copy = map(_location, places or (folder / "store", folder / "copy"))
    text = FILE.format(name=name, store=store, copy=copy, trust=json.dumps(PUBLIC_LINES), lines=lines)
    (folder / f"{name}.toml").write_text(text)
    opened = opened_places(folder, name)
    for each in (opened.store, opened.copy):
        make_store(each, name)
    return opened


def opened_places(folder: Path, name: str) -> TwoPlaces:
    """Return the places of an environment file that two_places() has written."""
    environment = Repository.find(folder).read(name)
    assert environment.store is not None
    return TwoPlaces(environment, open_store(environment.store), open_store(environment.copies["offsite"]))


def _location(place: Place) -> str:
    if isinstance(place, Path):
        return f'url = "file://{place}"'
    return f'url = "{place.url}"\nendpoint = "{place.endpoint}"\nregion = "{place.region}"'
