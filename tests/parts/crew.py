"""A repository for one test, and `crew` called in it as a user calls it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pyrage
import pytest

from jobs.cli import main
from tests.parts.postgres import Database
from tests.parts.signing import PUBLIC_LINES, write_signing_keys
from tests.parts.store import mark

SCHEMA = Path(__file__).parent / "shop.sql"
EXTENSIONS = Path(__file__).parent / "extensions.sql"


@dataclass(frozen=True)
class CrewResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


@dataclass(frozen=True)
class Repository:
    """Environment files, a store in a directory, and a key."""

    root: Path
    identity: str = field(default_factory=lambda: str(pyrage.x25519.Identity.generate()))

    @property
    def store(self) -> Path:
        return self.root / "store"

    def environment(
        self, name: str = "staging", text: str = "", *, protected: bool = False, encrypt: bool = True
    ) -> None:
        """Write the files of an environment; `text` is added after [environment] and [store]."""
        folder = self.root / "inventories"
        folder.mkdir(exist_ok=True)
        key = self.root / "age.key"
        key.touch(0o600)
        key.write_text(self.identity)
        signing, verify = write_signing_keys(self.root)
        recipient = f'["{pyrage.x25519.Identity.from_str(self.identity).to_public()}"]' if encrypt else '"nobody"'
        verify_key = f'[verify]\nsign_with = {{ file = "{verify}" }}\n'
        text = text.replace("[verify]\n", verify_key) if "[verify]\n" in text else f"{verify_key}{text}"
        (folder / name).write_text("dev_servers = []\n")
        (folder / f"{name}.toml").write_text(
            f'[environment]\nname = "{name}"\ntimezone = "Europe/Berlin"\nprotected = {str(protected).lower()}\n'
            f'[store]\nurl = "file://{self.store}"\nencrypt_to = {recipient}\n'
            f'decrypt_with = {{ file = "{key}" }}\nsign_with = {{ file = "{signing}" }}\n'
            f"trust = {PUBLIC_LINES}\n{text}\n"
        )
        mark(self.store, name)

    def section(self, name: str, database: Database, more: str = "") -> str:
        """Return a [databases.NAME] section with the password in a file."""
        return (
            f'[databases.{name}]\nurl = "{database.url}"\npassword = {{ file = "{self.password(database)}" }}\n{more}\n'
        )

    def password(self, database: Database) -> Path:
        """Return a file with the password of a database."""
        path = self.root / "password"
        path.touch(0o600)
        path.write_text(database.password)
        return path

    def crew(self, *args: str) -> CrewResult:
        """Run `crew` in this process."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(["--root", str(self.root), *args])
        return CrewResult(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def start(self, *args: str, **popen: Any) -> subprocess.Popen[str]:
        """Start `crew` as a program, so that a test can stop it."""
        argv = [sys.executable, "-m", "jobs.cli", "--root", str(self.root), *args]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)

    def backup(self, name: str = "shop", environment: str = "staging", *options: str) -> str:
        """Take a backup set and return its ID."""
        result = self.crew("run", "backup", environment, "--only", name, *options)
        assert result.code == 0, result
        match = re.search(r"set (\S+)", result.out)
        assert match is not None, result
        return match[1]

    def folder(self, set_id: str) -> Path:
        """Return the folder of a backup set."""
        [folder] = self.store.glob(f"*/backups/*/{set_id}")
        return folder

    def results(self, set_id: str) -> dict[str, dict[str, Any]]:
        """Return the stored results of verifying a set, by outcome."""
        files = sorted(self.store.glob(f"*/backups/*/{set_id}/verifications/*Z-*"))
        return {file.name.split("-")[1]: json.loads(file.read_bytes()) for file in files}

    def pieces(self, set_id: str) -> Iterator[Path]:
        """Return the stored pieces of a backup set."""
        return (path for path in sorted(self.store.glob(f"*/backups/*/{set_id}/*")) if path.suffix[1:].isdigit())


def flip(path: Path) -> None:
    """Flip a bit of the byte in the middle of a file."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
