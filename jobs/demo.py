"""The demo: back up a shop, drop a table, restore it and verify the backup, on servers that exist only for the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.embedded import EmbeddedError, S3Server, postgres, seaweed
from jobs.run.job import Failed
from jobs.run.stop import Stop, stopped_by_signals

if TYPE_CHECKING:
    from jobs.backup import NewKeys

_SHOP = """
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, mail text UNIQUE);
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer int NOT NULL REFERENCES customers,
  placed timestamptz NOT NULL,
  cents int NOT NULL CHECK (cents > 0),
  items jsonb NOT NULL
);
CREATE INDEX ON orders (customer, placed);
INSERT INTO customers (name, mail) SELECT 'Customer ' || n, n || '@example.com' FROM generate_series(1, 2000) n;
INSERT INTO orders (customer, placed, cents, items)
  SELECT 1 + n * 7 % 2000, timestamptz '2026-01-01' + n * interval '9 minutes', 100 + n * 37 % 90000,
         jsonb_build_object('sku', md5(n::text), 'count', 1 + n % 4)
  FROM generate_series(1, 50000) n;
"""

_FINGERPRINT = "SELECT count(*), md5(string_agg(o::text, '' ORDER BY id)) FROM orders o"

PrintLine = Callable[[str], None]


@dataclass
class Story:
    """The steps of the demo so far. No step begins after the demo was stopped."""

    print_line: PrintLine
    stop: Stop
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print the title of a step, run the block, and print how long it took."""
        self.stop.check()
        started = time.monotonic()
        self.print_line(f"{len(self.steps) + 1}. {title}")
        yield
        self.stop.check()
        seconds = time.monotonic() - started
        self.steps.append((title, seconds))
        self.print_line(f"   ({seconds:.1f} s)\n")


@dataclass(frozen=True, slots=True)
class DemoRepository:
    """A repository with one environment, in which the demo runs `crew` as a user does."""

    root: Path
    shop: str
    environment: Mapping[str, str]
    story: Story

    def crew(self, *args: str) -> None:
        """Run a command, and print it with its output."""
        shown = " ".join('"$SHOP"' if arg == self.shop else arg for arg in args)
        self.story.print_line(f"   $ crew {shown}")
        argv = [sys.executable, "-m", "jobs.cli", "--root", str(self.root), *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.story.stop.process(argv, env=self.environment, **pipes) as running:
            out, err = running.communicate()
        for line in out.decode().splitlines():
            self.story.print_line(f"     {line}")
        if running.returncode:
            raise Failed(f"the demo failed: crew {shown} exited with {running.returncode}", *err.decode().splitlines())


def run_demo(print_line: PrintLine) -> list[tuple[str, float]]:
    """Run the demo in a temporary directory, leave nothing behind, and return each step with its seconds."""
    try:
        with stopped_by_signals() as stop, tempfile.TemporaryDirectory(prefix="groundcrew-demo-") as folder:
            story = Story(print_line, stop)
            Path(folder).chmod(0o711)  # the PostgreSQL server runs as another user if the demo runs as root
            with _servers(story, Path(folder)) as repository:
                _run_steps(story, repository)
    except EmbeddedError as error:
        raise Failed(str(error)) from None
    return story.steps


@contextmanager
def _servers(story: Story, folder: Path) -> Iterator[DemoRepository]:
    with ExitStack() as running:
        with story.step("Start a PostgreSQL 16 server and an S3 server (SeaweedFS) in a temporary directory."):
            database = running.enter_context(postgres(16, folder))
            store = running.enter_context(seaweed(folder))
        shop = database.socket_url("shop")
        with story.step(
            "Write an environment: where the database is, where backups go, which keys encrypt and sign them."
        ):
            _write_environment(folder, shop, store)
            _make_store(store)
            story.print_line(f"   SHOP={shop}")
        yield DemoRepository(folder, shop, _variables(store), story)


def _run_steps(story: Story, repository: DemoRepository) -> None:
    with story.step("Create the database of a small shop: 2,000 customers, 50,000 orders."):
        _execute(repository.shop.replace("/shop?", "/postgres?"), "CREATE DATABASE shop")
        _execute(repository.shop, _SHOP)
        before = _fingerprint(repository.shop)
    with story.step("Back it up: compress, encrypt and stream it to S3."):
        repository.crew("run", "backup", "demo")
    with story.step("Make a mistake: DROP TABLE orders;"):
        _execute(repository.shop, "DROP TABLE orders")
    with story.step("Restore the backup into a new database, check it, and swap it with the damaged one."):
        repository.crew("backups", "restore", "demo", "shop", "--into", repository.shop, "--replace")
        after = _fingerprint(repository.shop)
        if after != before:
            raise Failed(f"the demo failed: the orders differ after the restore (before: {before}, after: {after})")
        story.print_line(f"   The table is back: all {after[0]:,} orders, byte for byte.")
    with story.step("Verify the backup: restore it into a scratch server and count every row."):
        repository.crew("backups", "verify", "demo", "shop")
    with story.step("List the backup sets:"):
        repository.crew("backups", "list", "demo")


def _write_environment(folder: Path, shop: str, store: S3Server) -> None:
    from jobs.backup import new_keys

    keys = new_keys(folder / "demo.key", "demo")
    for key in keys.files:
        key.path.touch(0o600)
        key.path.write_text(key.text)
    inventories = folder / "inventories"
    inventories.mkdir()
    (inventories / "demo").write_text("dev_servers = []\n")
    (inventories / "demo.toml").write_text(demo_toml(shop, store, keys))


def _make_store(store: S3Server) -> None:
    from jobs.store import mark_body, mark_key

    store.client().put_object(Bucket=store.bucket, Key=f"groundcrew/{mark_key('demo')}", Body=mark_body("demo"))


def demo_toml(shop: str, store: S3Server, keys: NewKeys) -> str:
    """Return the environment file of the demo."""
    settings = "\n".join(keys.settings())
    return f"""\
[environment]
name = "demo"

[store]
url = "s3://{store.bucket}/groundcrew"
endpoint = "{store.endpoint}"
region = "{store.region}"
{settings}

[databases.shop]
url = "{shop}"
backup = "0 2 * * *"
verify = "0 5 * * 0"
keep = {{ daily = 7 }}
"""


def _variables(store: S3Server) -> dict[str, str]:
    """Return the environment variables for `crew`, without the user's own, which could lead to real servers."""
    import jobs

    removed = ("AWS_", "PG", "CREW_", "GROUNDCREW__")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": store.key,
        "AWS_SECRET_ACCESS_KEY": store.secret,
        "PYTHONPATH": str(Path(next(iter(jobs.__path__))).parent),
    }


def _execute(url: str, script: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script)


def _fingerprint(url: str) -> Sequence[int]:
    """Return the number of orders and a hash of all of them."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(_FINGERPRINT).fetchone() or ()
