"""The database for the benchmarks of backups and restores: accounts, wide rows of hashes and JSON, long texts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs import embedded
from jobs.embedded import PostgresServer, S3Server

MAJOR = 16
PASSWORD = "known to the bench alone"
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "maintenance_work_mem": "256MB"}

WIDE = """
CREATE TABLE wide AS SELECT n AS id, md5(n::text) AS a, md5((n * 7)::text) AS b,
  timestamptz '2026-01-01' + n * interval '1 s' AS moment, n * 1.5::float8 AS f,
  jsonb_build_object('n', n, 'hash', md5((n * 3)::text), 'tags', jsonb_build_array('x', n % 7, 'tag ' || n % 100)) AS j
FROM generate_series(1, {rows}) n
"""
TEXTS = """
CREATE TABLE texts AS SELECT n AS id, (
  SELECT string_agg('lorem ipsum ' || md5((n * 50 + m)::text) || ' dolor sit amet', ' ')
  FROM generate_series(1, 30) m WHERE n > 0) AS body
FROM generate_series(1, {rows}) n
"""


@dataclass(frozen=True)
class Shop:
    """A server with two databases: `bench` (1.9 GB) and `tenth`."""

    server: PostgresServer
    passfile: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables for libpq's programs, which read the password from a file."""
        return {"PGPASSFILE": str(self.passfile), "BENCH_PASSWORD": PASSWORD}

    def program(self, name: str) -> Path:
        return self.server.programs / name


@contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """Start the server and create the databases."""
    folder.chmod(0o755)
    passfile = folder / "passfile"
    passfile.touch(0o600)
    passfile.write_text(f"*:*:*:*:{PASSWORD}\n")
    with embedded.postgres(MAJOR, folder, tcp=True, password=PASSWORD, settings=SETTINGS) as server:
        made = Shop(server, passfile)
        fill(made, "bench", scale=62, wide=2_000_000, texts=260_000)
        fill(made, "tenth", scale=6, wide=200_000, texts=26_000)
        yield made


def fill(shop: Shop, database: str, *, scale: int, wide: int, texts: int) -> None:
    """Create one database, and wait until the server is idle."""
    import psycopg

    with psycopg.connect(shop.server.url(), password=PASSWORD, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}".encode())
    url = shop.server.url(database)
    subprocess.run(
        [shop.program("pgbench"), "--initialize", "--quiet", f"--scale={scale}", url],
        env={"PATH": "/usr/bin:/bin", **shop.environment},
        check=True,
        capture_output=True,
    )
    with psycopg.connect(url, password=PASSWORD, autocommit=True) as connection:
        for statement in (WIDE.format(rows=wide), TEXTS.format(rows=texts)):
            connection.execute(statement.encode())
        connection.execute("ALTER TABLE wide ADD PRIMARY KEY (id)")
        connection.execute("ALTER TABLE texts ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def credentials(store: S3Server) -> Mapping[str, str]:
    """Environment variables for clients of S3."""
    return {
        "AWS_ACCESS_KEY_ID": store.key, "AWS_SECRET_ACCESS_KEY": store.secret, "AWS_DEFAULT_REGION": store.region,
    }  # fmt: skip


def crew(root: Path, *words: str) -> Sequence[str | Path]:
    """A command line of `crew`, from this checkout."""
    return [sys.executable, "-m", "jobs.cli", "--root", root, *words]


def aws(folder: Path) -> str:
    """The AWS command line: that of this machine, or one that is installed for the benchmark."""
    found = shutil.which("aws")
    if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
        return found
    subprocess.run([sys.executable, "-m", "venv", folder / "aws"], check=True)
    subprocess.run([folder / "aws/bin/pip", "install", "--quiet", "awscli"], check=True)
    return str(folder / "aws/bin/aws")
