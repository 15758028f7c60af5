"""Settings of a store, as in an environment file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jobs.embedded import S3Server
from jobs.store import make_store, mark_body, mark_key
from jobs.store.directory import DirectoryStore


@dataclass(frozen=True)
class Settings:
    """The `[store]` of an environment."""

    url: str
    region: str = ""
    endpoint: str = ""
    profile: str = ""
    profiles: dict[str, str] = field(default_factory=dict)
    max_parts: int = 10000


def mark_bucket(server: S3Server, environment: str, prefix: str = "groundcrew") -> None:
    """Make a store below a prefix of a server's bucket, as `crew check --create` does."""
    server.client().put_object(
        Bucket=server.bucket, Key=f"{prefix}/{mark_key(environment)}", Body=mark_body(environment)
    )


def mark(folder: Path, environment: str) -> DirectoryStore:
    """Make a store in a directory for an environment, as `crew init` does."""
    store = DirectoryStore(f"file://{folder}", folder)
    make_store(store, environment)
    return store


def write_environment(root: Path, name: str) -> None:
    """Write an environment with a directory store into a new repository."""
    (root / "inventories").mkdir()
    store = f'[store]\nurl = "file://{root}/store"\nencrypt_to = "nobody"\nsign_with = "nobody"\n'
    (root / f"inventories/{name}.toml").write_text(f'[environment]\nname = "{name}"\ntimezone = "UTC"\n{store}')
    (root / "inventories" / name).write_text("servers = []\n")
    mark(root / "store", name)
