"""Commands refuse a store that was not made for their environment; crew check --create makes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.parts.listeners import web_hook
from tests.unit.jobs.cli.conftest import Crew, Write, databases

COMMANDS = [
    ("backups", "list", "try"),
    ("backups", "prune", "try", "--dry-run"),
    ("run", "backup", "try"),
    ("run", "retention", "try"),
    ("runs", "try"),
    ("schedule", "list", "try"),
    ("status", "try"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_missing_directory_is_an_error_and_is_not_created(
    crew: Crew, write: Write, tmp_path: Path, command: tuple[str, ...]
) -> None:
    write(databases("shop"))
    shutil.rmtree(tmp_path / "store")
    result = crew(*command)
    assert result.code == 78, result
    assert f"directory {tmp_path}/store does not exist; mount its disk" in result.out + result.err
    assert not (tmp_path / "store").exists()


def test_a_store_in_use_is_adopted(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(databases("shop"))
    (tmp_path / "store" / "try" / "groundcrew.json").unlink()
    manifest = tmp_path / "store" / "try" / "backups" / "shop" / "20261120T020000Z-cccc" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    assert "has data of try but no mark" in crew("backups", "list", "try").err
    assert f"made a store for try in file://{tmp_path}/store\n" in crew("check", "try", "--create").out
    assert "20261120T020000Z-cccc" in crew("backups", "list", "try").out
    assert "is the store of try already" in crew("check", "try", "--create").out


def test_the_store_of_another_environment_is_named(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(databases("shop"), name="prod", head='[environment]\nname = "prod"\n')
    write(databases("shop"))
    (tmp_path / "store" / "try" / "groundcrew.json").unlink()
    assert "It has data of prod. Correct store.url" in crew("backups", "list", "try").err
    assert f"made a store for try in file://{tmp_path}/store, which also has data of prod" in (
        crew("check", "try", "--create").out
    )


def test_a_scheduled_run_alerts_before_it_refuses(
    crew: Crew, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_hook() as received:
        monkeypatch.setenv("CHAT", f"json://127.0.0.1:{received.port}/alert")
        monkeypatch.setenv("BEAT", f"http://127.0.0.1:{received.port}/beat")
        write(
            databases("shop", more='backup = "0 2 * * *"')
            + '[alerts]\nto = [{ env = "CHAT" }]\n[alerts.heartbeat]\nbackup = { env = "BEAT" }\n'
        )
        shutil.rmtree(tmp_path / "store")
        assert crew("run", "backup", "try").code == 78
        assert received.requests == []
        assert crew("run", "backup", "try", "--scheduled").code == 78
        paths = [path.partition("?")[0] for path, _ in received.requests]
        assert sorted(paths) == ["/alert", "/beat/1", "/beat/start"]
        assert "try: backup cannot run" in str(received.requests)
