"""A temporary S3 server: SeaweedFS in one process."""

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

COMPONENTS = ("s3", "master", "volume", "filer", "admin")


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
        """Return a client with short time limits and no retries, because the server is local."""
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
    """Start SeaweedFS with its data below `folder`; the data is removed at the end."""
    weed = _weed()
    ports = dict(zip(COMPONENTS, free_ports(len(COMPONENTS)), strict=True))
    key, secret = secrets.token_hex(10), secrets.token_hex(20)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seaweed-", dir=folder)))
        stack.callback(_remove_sockets, ports.values())
        program = stack.enter_context(
            start_program(
                "SeaweedFS",
                seaweed_command(weed, home, ports),
                home / "log",
                environment=_environment(home, key, secret, bucket),
                end=signal.SIGKILL,  # its shutdown takes seconds, and there is no data to keep
            )
        )
        server = S3Server(f"http://127.0.0.1:{ports['s3']}", bucket, key, secret, "us-east-1", program)
        program.wait_until(lambda: _is_ready(server))
        yield server


def seaweed_command(weed: Path, folder: Path, ports: dict[str, int]) -> list[str]:
    """Return the command line of an S3 server for this machine only. Each component also uses its port plus 10,000."""
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
        "-filer.maxMB=2",  # chunks that fit into its buffers; a part of 8 MiB would take new memory every time
        "-volume.max=1000",  # each bucket needs some; by default the free space limits their number
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
    """Remove the sockets that SeaweedFS always creates in /tmp, and leaves there when it is killed."""
    for port in ports:
        for number in (port, port + 10_000):
            for socket in Path("/tmp").glob(f"seaweedfs-*-{number}.sock"):  # noqa: S108 (SeaweedFS chooses it)
                with suppress(PermissionError):  # a socket of another user
                    socket.unlink(missing_ok=True)


def _is_ready(server: S3Server) -> bool:
    """Return whether the server can write and delete an object; it listens before it can."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = server.client()
    try:
        client.put_object(Bucket=server.bucket, Key="ready", Body=b"?")
        client.delete_object(Bucket=server.bucket, Key="ready")
    except (BotoCoreError, ClientError):
        return False
    return True


def _weed() -> Path:
    """Return the program, which its package installs next to Python."""
    beside_python = Path(sys.executable).parent / "weed"
    program = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if program is None:
        raise NotInstalled("SeaweedFS is not installed; run: pip install 'groundcrew[demo]'")
    return Path(program)
