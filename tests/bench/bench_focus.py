"""A bill of 1,000,000 rows in the FOCUS format, compared with unpacking and splitting the same files."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree

from tests.bench import Bench, Side
from tests.parts.focus import row, text
from tests.parts.store import mark

FILES, ROWS_OF_FILE = 10, 100_000
ENVIRONMENT = """
[environment]
name = "dev"
[store]
url = "file://{folder}/store"
encrypt_to = "nobody"
sign_with = "nobody"
[cost]
from = "focus"
exports = "file://{folder}/exports"
budget = 10000000
filter = {{ tag = {{ Environment = "staging" }} }}
"""
SPLIT = """
import csv, gzip, pathlib, sys
for file in pathlib.Path(sys.argv[1]).rglob("*.gz"):
    for row in csv.reader(gzip.open(file, "rt")):
        pass
"""


@contextmanager
def sides(folder: Path) -> Iterator[Sequence[Side]]:
    (folder / "inventories").mkdir()
    (folder / "inventories/dev").write_text("dev_servers = []\n")
    (folder / "inventories/dev.toml").write_text(ENVIRONMENT.format(folder=folder))
    mark(folder / "store", "dev")
    write_exports(folder / "exports")
    yield [
        Side("gunzip and csv.reader", [sys.executable, "-c", SPLIT, folder / "exports"]),
        Side(
            "crew cost dev --refresh",
            [sys.executable, "-m", "jobs.cli", "--root", folder, "cost", "dev", "--refresh"],
            before=lambda: rmtree(folder / "store/dev/cost", ignore_errors=True),
            seconds=20,
            memory=150,
        ),
    ]


def write_exports(folder: Path) -> None:
    """Write files that differ in their days."""
    folder.mkdir()
    today = datetime.now(UTC).date()
    for number in range(FILES):
        days = [today - timedelta(days=(number + each * 10) % 60) for each in range(6)]
        rows = [
            row(days[at % 6], f"{at % 97 / 7:.10f}", ServiceName=f"service {at % 40}", ResourceId=f"r-{at:08}")
            for at in range(ROWS_OF_FILE)
        ]
        (folder / f"part-{number}.csv.gz").write_bytes(gzip.compress(text(rows).encode(), 1))


BENCH = Bench("a bill of 1,000,000 rows", sides, rounds=1)
