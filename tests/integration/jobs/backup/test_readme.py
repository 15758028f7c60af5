"""The commands of docs/backups.md do what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.crew import Repository
from tests.parts.needs import majors, needs
from tests.parts.portrait import differences, portrait
from tests.parts.postgres import CLIENTS, Database

PAGE = Path(__file__).parents[4] / "docs" / "backups.md"


def block(heading: str, number: int = 0) -> str:
    """Return an indented block of a section of the page."""
    _, _, rest = PAGE.read_text().partition(f"# {heading}\n")
    section = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"(?:^    .*\n)+", section, flags=re.MULTILINE)
    return re.sub(r"^    ", "", blocks[number], flags=re.MULTILINE)


@needs("age", "zstd")
@pytest.mark.usefixtures("small_streams")
def test_a_set_is_restored_without_groundcrew(
    repository: Repository, shop: Callable[..., Database], database: Callable[..., Database], tmp_path: Path
) -> None:
    origin, target = shop(16), database(16)
    repository.environment(text=repository.section("shop", origin))
    taken = repository.backup()
    folder = tmp_path / "here"
    shutil.copytree(repository.store / "staging/backups/shop" / taken, folder)
    shutil.copy(tmp_path / "age.key", folder / "age.key")
    assert (folder / "rows-1-1.0").exists()
    split_into_pieces(folder / "rest.0", 12)
    commands = block("Restore without groundcrew").replace("--dbname=shop", f"--dbname={target.name}")
    environment = {
        **target.server.environment, "PATH": f"{CLIENTS[16]}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1", "PGPORT": str(target.server.port), "PGUSER": "postgres",
    }  # fmt: skip
    ended = subprocess.run(
        ["bash", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert [line for line in ended.stderr.splitlines() if "already exists" not in line] == []
    assert json.loads(ended.stdout)["owner"] == "postgres", "the last command shows what to set by hand"
    portraits = (portrait(one.url, password=one.password) for one in (origin, target))
    assert differences(*portraits, ignore={"settings", "database"}) == []


def split_into_pieces(first: Path, number: int) -> None:
    """Split a part into pieces, as for a store that limits the size of an object, and leave an object of a try."""
    body, part, manifest = first.read_bytes(), first.stem, first.with_name("manifest.json")
    size = -(-len(body) // number)
    keys = [f"{part}.{piece}" for piece in range(10_000, 10_000 + number)]
    for at, key in enumerate(keys):
        first.with_name(key).write_bytes(body[at * size : (at + 1) * size])
    first.write_bytes(b"left over")
    written = json.loads(manifest.read_text())
    for each in written["parts"]:
        if each["name"] == part:
            each["pieces"] = [{**each["pieces"][0], "key": key} for key in keys]
    manifest.write_text(json.dumps(written))


@majors(13, 16)
def test_the_role_that_backs_up_can_read_everything(
    major: int, repository: Repository, shop: Callable[..., Database], database: Callable[..., Database]
) -> None:
    origin, target = shop(major), database(major)
    script = block("Create the backup role")
    if major == 13:
        old = block("Create the backup role", 1)
        schemas = [old.replace("SCHEMA public", f"SCHEMA {schema}") for schema in ("public", "stock", '"Büro"')]
        script = re.sub("GRANT pg_read_all_data.*", "\n".join(schemas), script)
    origin.run(script, "ALTER ROLE backup PASSWORD 'known to the tests alone'")
    try:
        repository.environment(text=repository.section("shop", origin).replace("postgres@", "backup@"))
        checked = repository.crew("check", "staging")
        assert checked.code == 0, checked
        repository.backup()
        into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
        restored = repository.crew("backups", "restore", "staging", "shop", *into)
        assert restored.code == 0, restored
        portraits = (portrait(one.url, password=one.password) for one in (origin, target))
        assert differences(*portraits) == []
    finally:
        target.run("DROP OWNED BY backup")
        origin.run("DROP OWNED BY backup", "DROP ROLE backup")


def test_a_new_key_opens_new_sets_and_the_old_one_old_ones(
    repository: Repository, shop: Callable[..., Database], database: Callable[..., Database]
) -> None:
    origin = shop(16)
    repository.environment(text=repository.section("shop", origin))
    old = repository.backup()
    later = Repository(repository.root)
    later.environment(text=repository.section("shop", origin))
    (repository.root / "age.key").write_text(f"# new\n{later.identity}\n# old\n{repository.identity}\n")
    new = repository.backup()
    for taken in (old, new):
        target = database(16)
        into = ("--into", target.url, "--password-from", f"file:{repository.password(target)}")
        restored = repository.crew("backups", "restore", "staging", "shop", "--set", taken, *into)
        assert restored.code == 0, restored
    (repository.root / "age.key").write_text(later.identity)
    verified = repository.crew("backups", "verify", "staging", "shop", "--set", old)
    assert verified.code == 1, verified
    wrong_key = f"set {old} of staging/shop: the key in decrypt_with cannot decrypt it. The set is encrypted to age1"
    assert wrong_key in verified.out
