"""The whole story on one machine: a shop is backed up, loses a table, gets it back, and the backup is verified."""

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

from jobs.embedded import EmbeddedError, S3Server, postgres, seaweed
from jobs.run.job import Failed
from jobs.run.stop import Stop, stopped_by_signals

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

Tell = Callable[[str], None]


@dataclass
class Story:
    """What has happened so far; each step is told as it ends, and none begins once the story was told to end."""

    tell: Tell
    stop: Stop
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """A sentence, and how long it took."""
        self.stop.check()
        begun = time.monotonic()
        self.tell(f"{len(self.steps) + 1}. {what}")
        yield
        self.stop.check()
        took = time.monotonic() - begun
        self.steps.append((what, took))
        self.tell(f"   ({took:.1f} s)\n")


@dataclass(frozen=True, slots=True)
class DemoRepository:
    """Where the demo plays: servers, and a repository whose `crew` is called as a person would."""

    root: Path
    shop: str
    environment: Mapping[str, str]
    story: Story

    def crew(self, *args: str) -> None:
        """Call a command and show what it says."""
        shown = " ".join('"$SHOP"' if arg == self.shop else arg for arg in args)
        self.story.tell(f"   $ crew {shown}")
        argv = [sys.executable, "-m", "jobs.cli", "--root", str(self.root), *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.story.stop.process(argv, env=self.environment, **pipes) as running:
            out, err = running.communicate()
        for line in out.decode().splitlines():
            self.story.tell(f"     {line}")
        if running.returncode:
            raise Failed(f"the demo broke at: crew {shown} (it exited with {running.returncode})\n{err.decode()}")


def play(tell: Tell) -> list[tuple[str, float]]:
    """Play the story in a temporary folder; the steps and their seconds. Nothing is left when it ends."""
    try:
        with stopped_by_signals() as stop, tempfile.TemporaryDirectory(prefix="groundcrew-demo-") as folder:
            story = Story(tell, stop)
            Path(folder).chmod(0o711)
            with _parts(story, Path(folder)) as place:
                _act(story, place)
    except EmbeddedError as error:
        raise Failed(str(error)) from None
    return story.steps


@contextmanager
def _parts(story: Story, folder: Path) -> Iterator[DemoRepository]:
    with ExitStack() as running:
        with story.step("PostgreSQL 16 and an S3 server (SeaweedFS) are started, for this story alone."):
            database = running.enter_context(postgres(16, folder))
            store = running.enter_context(seaweed(folder))
        shop = database.socket_url("shop")
        with story.step("An environment is written: where the shop is, where backups go, who can read them."):
            _write(folder, shop, store)
            story.tell(f"   SHOP={shop}")
        yield DemoRepository(folder, shop, _environment(store), story)


def _act(story: Story, place: DemoRepository) -> None:
    with story.step("A small shop opens: 2,000 customers, 50,000 orders."):
        _run(place.shop.replace("/shop?", "/postgres?"), "CREATE DATABASE shop")
        _run(place.shop, _SHOP)
        before = _ask(place.shop)
    with story.step("It is backed up: compressed, encrypted, streamed into S3."):
        place.crew("run", "backup", "demo")
    with story.step("Somebody drops a table: DROP TABLE orders;"):
        _run(place.shop, "DROP TABLE orders")
    with story.step("The backup is restored beside the shop, checked, and takes its name."):
        place.crew("backups", "restore", "demo", "shop", "--into", place.shop, "--replace")
        after = _ask(place.shop)
        if after != before:
            raise Failed(f"the demo broke: orders were {before} before and are {after} after")
        story.tell(f"   The table is back: {after[0]:,} orders, and not a byte of them differs.")
    with story.step("The backup is verified: restored into a scratch server, every row counted."):
        place.crew("backups", "verify", "demo", "shop")
    with story.step("This is what there is now:"):
        place.crew("backups", "list", "demo")


def _write(folder: Path, shop: str, store: S3Server) -> None:
    from jobs.cli.init import new_key

    secret, public = new_key()
    key = folder / "age.key"
    key.touch(0o600)
    key.write_text(secret)
    inventories = folder / "inventories"
    inventories.mkdir()
    (inventories / "demo").write_text("dev_servers = []\n")
    (inventories / "demo.toml").write_text(toml(shop, store, public, key))


def toml(shop: str, store: S3Server, public: str, key: Path) -> str:
    """The environment file of the demo, as a person would write it."""
    return f"""\
[environment]
name = "demo"

[store]
url = "s3://{store.bucket}/groundcrew"
endpoint = "{store.endpoint}"
region = "{store.region}"
encrypt_to = ["{public}"]
decrypt_with = {{ file = "{key}" }}

[databases.shop]
url = "{shop}"
backup = "0 2 * * *"
verify = "0 5 * * 0"
keep = {{ daily = 7 }}
"""


def _environment(store: S3Server) -> dict[str, str]:
    """Without the settings of who plays it, which may lead to real servers."""
    import jobs

    foreign = ("AWS_", "PG", "CREW_", "GROUNDCREW__")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {
        **ours,
        "AWS_ACCESS_KEY_ID": store.key,
        "AWS_SECRET_ACCESS_KEY": store.secret,
        "PYTHONPATH": str(Path(next(iter(jobs.__path__))).parent),
    }


def _run(shop: str, script: str) -> None:
    import psycopg

    with psycopg.connect(shop, autocommit=True) as there:
        there.execute(script)


def _ask(shop: str) -> Sequence[int]:
    import psycopg

    with psycopg.connect(shop, autocommit=True) as there:
        return there.execute(_FINGERPRINT).fetchone() or ()
