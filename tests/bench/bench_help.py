"""The start time of `crew`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import Bench, Side
from tests.parts.store import mark

CREW = Path(sys.executable).with_name("crew")
ENVIRONMENT = """
[environment]
name = "dev"
[store]
url = "file://{store}"
encrypt_to = "nobody"
sign_with = "nobody"
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    inventories = folder / "inventories"
    inventories.mkdir()
    (inventories / "dev.toml").write_text(ENVIRONMENT.format(store=folder / "store"))
    (inventories / "dev").write_text("dev_servers = []\n")
    mark(folder / "store", "dev")
    yield [
        Side("python -c pass", [sys.executable, "-c", "pass"]),
        Side("crew --help", [CREW, "--help"], seconds=0.2),
        Side("crew status dev", [CREW, "--root", folder, "status", "dev"]),
    ]


BENCH = Bench("crew's first words", sides, rounds=10)
