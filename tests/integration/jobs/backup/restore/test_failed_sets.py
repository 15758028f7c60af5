"""A restore does not use a set whose verification failed, unless it is named."""

from __future__ import annotations

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
