"""A restore does not use a set that failed verification or was copied from elsewhere, unless it is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from tests.parts.crew import Repository, flip
from tests.parts.postgres import Database

Shop = Callable[..., Database]
New = Callable[..., Database]


def test_a_restore_uses_the_newest_set_that_has_not_failed(repository: Repository, shop: Shop, database: New) -> None:
    repository.environment(text=repository.section("shop", shop(15)))
    good, damaged = repository.backup(), repository.backup()
    flip(next(piece for piece in repository.pieces(damaged) if piece.stem == "rest"))
    assert repository.crew("backups", "verify", "staging", "shop", "--set", damaged).code == 1
    into = database(15)
    url, password = into.url, f"file:{repository.password(into)}"
    restore = ("backups", "restore", "staging", "shop", "--into", url, "--password-from", password)
    for more in (("--dry-run",), ()):
        result = repository.crew(*restore, *more)
        assert result.code == 0, result
        assert f"set {good}" in result.out
        assert f"set {damaged} failed its last verification" in result.err
    named = repository.crew(*restore, "--set", damaged, "--replace", "--dry-run")
    assert named.code == 0, named
    assert f"Warning: set {damaged} failed its last verification" in named.err
    assert f"set {damaged}" in named.out


def test_a_copied_set_is_used_only_if_a_person_trusts_it(repository: Repository, shop: Shop, database: New) -> None:
    origin = shop(15)
    repository.environment(text=repository.section("shop", origin) + repository.section("copy", origin))
    taken = repository.backup()
    folder = repository.store / "staging/backups"
    shutil.copytree(folder / "shop" / taken, folder / "copy" / taken)
    shutil.rmtree(folder / "shop")
    said = f"set {taken} of staging/copy was copied or renamed: its manifest says set {taken} of staging/shop"
    refused = repository.crew("backups", "verify", "staging", "copy", "--set", taken)
    assert refused.code == 1, refused
    assert said in refused.out
    verified = repository.crew("backups", "verify", "staging", "copy", "--trust-unsigned", taken)
    assert verified.code == 0, verified
    assert said in verified.out
    assert list((folder / "copy" / taken / "verifications").iterdir())
    assert not (folder / "shop").exists(), "nothing is written where the set does not lie"
    into = database(15)
    restore = ("backups", "restore", "staging", "copy", "--into", into.url)
    restore += ("--password-from", f"file:{repository.password(into)}")
    refused = repository.crew(*restore, "--set", taken, "--dry-run")
    assert refused.code == 1, refused
    assert f"{said}. If you know who wrote it, name it with --trust-unsigned {taken}" in refused.err
    named = repository.crew(*restore, "--trust-unsigned", taken)
    assert named.code == 0, named
    assert f"Warning: set {taken} is not trusted: {said}" in named.err
    assert into.ask("SELECT count(*) FROM orders") == [(4000,)]
