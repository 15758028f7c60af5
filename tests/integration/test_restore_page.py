"""Follow docs/restore.md with only the bucket and the age key left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.parts.backups import ROOT, section, team
from tests.parts.needs import needs
from tests.parts.postgres import Database
from tests.parts.readme import typed
from tests.parts.s3 import Bucket


@needs("postgres-16")
def test_the_machine_is_gone(tmp_path: Path, database: Callable[..., Database], seaweed: Bucket) -> None:
    origin = database(16)
    origin.run("CREATE TABLE orders AS SELECT generate_series(1, 1234) AS id")
    (tmp_path / "lost").mkdir()
    lost = team(tmp_path / "lost", section("shop", origin.url), seaweed)
    document = (lost.folder / "inventories" / "staging.toml").read_text()
    (lost.folder / "inventories" / "staging.toml").unlink()
    (lost.folder / "inventories" / "production.toml").write_text(document.replace('"staging"', '"production"'))
    (lost.folder / "inventories" / "production").touch()
    for command in (("check", "production", "--create"), ("run", "backup", "production")):
        done = lost.crew(*command)
        assert done.returncode == 0, done
    key = tmp_path / "age.key"
    (lost.folder / "age.key").rename(key)

    new = tmp_path / "new"
    new.mkdir()
    target = origin.url.replace(origin.name, f"{origin.name}_again")
    here = {
        "s3://acme-backups/groundcrew": seaweed.url,
        'region = "eu-central-1"': f'region = "{seaweed.region}"\nendpoint = "{seaweed.endpoint}"',
        "/root/age.key": str(key),
        "postgresql://postgres@localhost/shop": target,
    }
    shown = ""
    for step in typed(ROOT / "docs" / "restore.md"):
        command = step.command
        for text, replacement in here.items():
            command = command.replace(text, replacement)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PGPASSWORD": origin.password}
        ran = subprocess.run(
            ["bash", "-c", command], cwd=new, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, (command, ran)
        shown = ran.stdout
    assert "1234" in shown
    origin.run(f'DROP DATABASE "{origin.name}_again"')
