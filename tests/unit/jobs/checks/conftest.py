"""An environment file that needs nearly every check."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories import Environment, Repository

FILE = """
[environment]
name = "try"
[store]
url = "file://{folder}/store"
encrypt_to = "nobody"
sign_with = "nobody"
profiles = {{ backup = "writer", retention = "pruner" }}
[servers.main]
url = "postgresql://me@127.0.0.1/postgres"
password = {{ env = "NOT_THERE" }}
via = {{ ssh = "bastion" }}
[databases.shop]
url = "postgresql://me@127.0.0.1/shop"
via = {{ kubernetes = "prod/statefulset/postgres" }}
[verify]
scratch = "postgresql://me@127.0.0.1/postgres"
[alerts]
to = ["json://127.0.0.1/hook", {{ env = "ALSO_NOT_THERE" }}]
heartbeat = {{ backup = {{ env = "BEAT" }} }}
[metrics]
textfile = "{folder}/metrics/groundcrew.prom"
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    folder = tmp_path / "inventories"
    folder.mkdir()
    (folder / "try").write_text("servers = []\n")
    (folder / "try.toml").write_text(FILE.format(folder=tmp_path))
    return Repository.find(tmp_path).read("try")
