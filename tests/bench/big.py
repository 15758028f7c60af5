"""A database of the size that backups and restores are measured on: 2 GB, of which 1.35 are dumped."""

from __future__ import annotations

import subprocess

import psycopg

from jobs.embedded import PostgresServer

NAME = "big"

_EVENTS = """
CREATE TABLE events (
  id bigint PRIMARY KEY, at timestamptz NOT NULL, one text, two text, three text, body jsonb NOT NULL);
INSERT INTO events SELECT n, timestamptz '2026-01-01' + n * interval '3 seconds', md5(n::text), md5((n * 7)::text),
  md5((n % 5000)::text),
  jsonb_build_object('user', n % 90000, 'path', '/shop/' || n % 300, 'ms', n % 977, 'tag', md5((n % 90)::text))
  FROM generate_series(1, %s) n;
CREATE INDEX ON events (at);
CREATE INDEX ON events (three);
"""

_LETTERS = """
CREATE TABLE letters (id int PRIMARY KEY, sender int NOT NULL, body text NOT NULL);
INSERT INTO letters SELECT n, n % 1000, (
    SELECT string_agg(substr(md5((n * m)::text), 1, 3 + m % 9), ' ') FROM generate_series(1, 400) m)
  FROM generate_series(1, %s) n;
"""


def fill(server: PostgresServer, size: float = 1.0) -> str:
    """Make it; `size` 0.1 is a tenth of it. Its address."""
    with psycopg.connect(server.url(), autocommit=True) as there:
        there.execute(f"CREATE DATABASE {NAME}")
    scale = str(max(1, round(65 * size)))
    subprocess.run(
        [server.programs / "pgbench", "-i", "-q", "-s", scale, server.url(NAME)], capture_output=True, check=True
    )
    with psycopg.connect(server.url(NAME), autocommit=True) as there:
        there.execute(_EVENTS.replace("%s", str(round(2_200_000 * size))))
        there.execute(_LETTERS.replace("%s", str(round(80_000 * size))))
        there.execute("VACUUM ANALYZE")
    return server.url(NAME)
