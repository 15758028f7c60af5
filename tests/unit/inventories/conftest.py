"""A repository with a staging environment for the test, beside a production environment to refresh from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inventories import Environment, Repository

Reading = Callable[[str], Environment]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with hosts, two stacks, a sanitising script, and a production that has a database and a server."""
    return lay_out(tmp_path)


@pytest.fixture
def read(root: Path) -> Reading:
    """Return a function that reads a text as the file of staging."""

    def reading(text: str) -> Environment:
        (root / "inventories" / "staging.toml").write_text(text)
        return Repository.find(root).read("staging")

    return reading


def lay_out(root: Path) -> Path:
    inventories = root / "inventories"
    for folder in ("sanitise", "verify"):
        (inventories / folder).mkdir(parents=True)
    for name in ("staging", "production", "sanitise/shop.sql", "verify/shop.sql"):
        (inventories / name).touch()
    (inventories / "production.toml").write_text("[databases.shop]\n[servers.main]\n")
    for stack in ("network", "cluster"):
        (root / "terraform" / "stacks" / stack).mkdir(parents=True)
    return root
