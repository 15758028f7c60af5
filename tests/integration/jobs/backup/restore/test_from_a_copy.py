"""Verify and restore from a copy, also when the store is gone, with the commands of docs/restore.md."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.parts.backups import ROOT
from tests.parts.crew import Repository
from tests.parts.postgres import Database
from tests.parts.store import mark

Shop = Callable[..., Database]


def documented_commands() -> list[str]:
    """Return the commands of docs/restore.md for a store that is gone."""
    page = (ROOT / "docs" / "restore.md").read_text()
    section = page.partition("## The store is gone\n")[2].partition("\n## ")[0]
    return re.findall(r"^    crew (.*)$", section, re.MULTILINE)


def copied_set(repository: Repository, origin: Database) -> tuple[str, Path]:
    """Take a set and copy it; return its ID and its folder in the copy."""
    offsite = repository.root / "offsite"
    repository.environment(
        text=repository.section("shop", origin) + f'[copies.offsite]\nurl = "file://{offsite}"\nverify = "0 9 1 * *"\n'
    )
    mark(offsite, "staging")
    taken = repository.backup()
    copied = repository.crew("run", "copy", "staging")
    assert copied.code == 0, copied
    assert "copied 1 set" in copied.out
    return taken, offsite / "staging" / "backups" / "shop" / taken


def test_a_verification_of_a_copy_reads_the_copy_and_stores_its_result_there(
    repository: Repository, shop: Shop
) -> None:
    taken, folder = copied_set(repository, shop(15))
    for piece in repository.pieces(taken):
        piece.unlink()
    verified = repository.crew("run", "verify", "staging", "--only", "offsite")
    assert verified.code == 0, verified
    assert "verify offsite.shop" in verified.out
    assert len(list((folder / "verifications").glob("*-passed-*"))) == 1
    assert not repository.results(taken)
    (listed,) = repository.crew("backups", "list", "staging", "--from", "offsite", "--json").json["sets"]
    assert listed["verified"]
    again = repository.crew("backups", "verify", "staging", "shop", "--from", "offsite")
    assert "1 set is verified already" in again.out, again


def test_the_store_is_gone(repository: Repository, shop: Shop) -> None:
    origin = shop(15)
    taken, _ = copied_set(repository, origin)
    shutil.rmtree(repository.store)
    began = time.monotonic()
    target = f"{origin.url}_again"
    refused = repository.crew("backups", "restore", "staging", "shop", "--into", target, "--create")
    assert refused.code == 78, refused
    assert f"copy offsite has set {taken}, taken " in refused.err
    assert "to restore it, add: --from offsite" in refused.err
    password = ("--password-from", f"file:{repository.password(origin)}")
    for command in documented_commands():
        words = shlex.split(command.replace("production", "staging"))
        words = [target if word.startswith("postgresql://") else word for word in words]
        done = repository.crew(*words, *(password if "--into" in words else ()))
        assert done.code == 0, (words, done)
    assert f"set {taken}" in done.out
    assert time.monotonic() - began < 300
    restored = Database(origin.server, f"{origin.name}_again")
    assert restored.ask("SELECT count(*) FROM orders") == [(4000,)]
    origin.run(f'DROP DATABASE "{restored.name}"')
