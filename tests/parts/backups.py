"""Help tests of backups: an environment file, `crew` as a process, and the contents of sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pyrage

from inventories import Environment, Repository
from jobs.backup.sets.description import Description
from jobs.backup.sets.encryption import decrypt
from jobs.backup.sets.manifest import Manifest
from jobs.backup.sets.sets import Set, find_sets
from jobs.backup.sets.stored import StoredSet, open_set
from jobs.backup.take.job import BACKUP
from jobs.run import Options, RunTimeouts, run_job
from jobs.run.record import Record
from jobs.store import Store, make_store, open_store
from tests.parts.postgres import PASSWORD
from tests.parts.s3 import Bucket
from tests.parts.signing import write_signing_keys

ROOT = Path(__file__).parents[2]
NO_RETRIES = RunTimeouts(
    work_retries=(), store_retries=(0.01, 0.02), store_pauses=(0.02, 0.2), kill_after=0.5, abandon_after=5
)
"""Runs the work once, without retries."""

_KEY = pyrage.x25519.Identity.generate()


@dataclass(frozen=True)
class Team:
    """A folder with one environment, `staging`."""

    folder: Path
    store: Store
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> Environment:
        return Repository.find(self.folder).read("staging")

    def crew(self, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `crew …` as a process."""
        return subprocess.run(
            self.argv(*args), env=self.process_environment(**more), capture_output=True, text=True, check=False
        )

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "jobs.cli", "--root", str(self.folder), *args]

    def process_environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.secrets, **more}

    def take(self, *only: str, timeouts: RunTimeouts = NO_RETRIES, **options: object) -> Record:
        """Back up one subject in this process."""
        records = self.take_all(*only, timeouts=timeouts, **options)
        assert len(records) == 1
        return records[0]

    def take_all(self, *only: str, timeouts: RunTimeouts = NO_RETRIES, **options: object) -> list[Record]:
        run_options = Options(only=only, **options)  # type: ignore[arg-type]
        return run_job(BACKUP, self.environment, self.store, run_options, timeouts=timeouts)

    def sets(self, database: str | None = None) -> list[Set]:
        return list(find_sets(self.store, self.environment, database))

    def manifest(self, database: str = "shop") -> Manifest:
        """Return the manifest of the newest complete set."""
        return self.stored(database).manifest

    def description(self, database: str = "shop") -> Description:
        """Return the description of the newest complete set."""
        return self.stored(database).description

    def stored(self, database: str = "shop") -> StoredSet:
        """Open the newest complete set."""
        newest = [backup_set for backup_set in self.sets(database) if backup_set.complete][-1]
        settings = self.environment.store
        return open_set(self.store, newest, settings.decrypt_with if settings else None)

    def part(self, name: str, database: str = "shop") -> bytes:
        """Return the dumped bytes of a part, read without the code that restores."""
        manifest, body = self.manifest(database), BytesIO()
        [part] = [part for part in manifest.parts if part.name == name]
        prefix = f"staging/backups/{database}/{manifest.set}/"
        chunks = (chunk for piece in part.pieces for chunk in self.store.read(prefix + piece.key))
        decrypt(chunks, body, str(_KEY))
        return body.getvalue()


class DiscardingSink:
    """A sink that keeps nothing. Reading a part checks its hash."""

    def write(self, body: bytes) -> int:
        return len(body)


def team(folder: Path, body: str, bucket: Bucket | None = None, **store: object) -> Team:
    """Write an environment file: its store, then `body`."""
    (folder / "inventories").mkdir()
    (folder / "inventories" / "staging").write_text("dev_servers = []\n")
    key = folder / "age.key"
    key.touch(0o600)
    key.write_text(str(_KEY))
    signing, verify = write_signing_keys(folder)
    url = bucket.url if bucket else f"file://{folder}/store"
    location = {"endpoint": bucket.endpoint, "region": bucket.region} if bucket else {}
    settings = {"url": url, **location, "encrypt_to": [str(_KEY.to_public())], **store}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    (folder / "inventories" / "staging.toml").write_text(
        f'[environment]\nname = "staging"\n[store]\n{lines}\ndecrypt_with = {{ file = "{key}" }}\n'
        f'sign_with = {{ file = "{signing}" }}\n[verify]\nsign_with = {{ file = "{verify}" }}\n{body}'
    )
    environment = Repository.find(folder).read("staging")
    assert environment.store is not None
    os.environ["DB_PASSWORD"] = PASSWORD
    opened = open_store(environment.store, "backup")
    make_store(opened, "staging")
    return Team(folder, opened, {"DB_PASSWORD": PASSWORD})


def section(name: str, url: str, *lines: str, kind: str = "databases") -> str:
    """Return the section of a database, with its password from the environment."""
    return "\n".join([f"[{kind}.{name}]", f'url = "{url}"', 'password = { env = "DB_PASSWORD" }', *lines, ""])
