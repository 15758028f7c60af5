"""S3 servers for tests. Each test gets its own bucket."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.embedded import free_port, start_program

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY, SECRET = "groundcrew-tests", "not-a-secret-at-all"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Bucket:
    """A bucket and its address; a store writes below the prefix."""

    endpoint: str
    name: str
    prefix: str = "groundcrew"
    key: str = KEY
    secret: str = SECRET
    region: str = "us-east-1"

    @property
    def url(self) -> str:
        return f"s3://{self.name}/{self.prefix}"

    @property
    def target(self) -> tuple[str, int]:
        """The address that a proxy forwards to."""
        host, port = self.endpoint.removeprefix("http://").split(":")
        return host, int(port)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with the credentials."""
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_REGION": self.region}

    def at(self, endpoint: str) -> Bucket:
        """The same bucket at another address."""
        return replace(self, endpoint=endpoint)

    def client(self) -> S3Client:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def keys(self) -> list[str]:
        """All keys in the bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def new_bucket(endpoint: str, key: str = KEY, secret: str = SECRET) -> Bucket:
    """Create a bucket for one test."""
    bucket = Bucket(endpoint, f"test-{secrets.token_hex(6)}", key=key, secret=secret)
    bucket.client().create_bucket(Bucket=bucket.name)
    return bucket


def with_object_lock(bucket: Bucket) -> Bucket:
    """Create another bucket on the same server, with versions and object lock."""
    locked = replace(bucket, name=f"{bucket.name}-locked")
    locked.client().create_bucket(Bucket=locked.name, ObjectLockEnabledForBucket=True)
    return locked


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """Start the AWS emulator and yield its address."""
    port = free_port()
    argv: list[str | Path] = [
        sys.executable,
        Path(__file__).with_name("moto_server.py"),
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    with start_program("moto_server", argv, folder / "log", environment=_environment(folder)) as program:
        program.wait_until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """Start an S3 server that ignores conditions on writes."""
    port = free_port()
    (folder / "buckets").mkdir()
    argv: list[str | Path] = [
        BIN / "rclone", "serve", "s3", folder / "buckets", "--addr", f"127.0.0.1:{port}",
        "--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off", "--no-checksum",
    ]  # fmt: skip
    with start_program("rclone serve s3", argv, folder / "log", environment=_environment(folder)) as program:
        program.wait_until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder)}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
