"""An S3 server for pgBackRest, which speaks only TLS: the shared SeaweedFS behind a proxy at the lab's gateway."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pprint import pformat
from queue import Queue
from subprocess import Popen
from threading import Thread
from typing import Any

from tests.lab import commands
from tests.lab.lab import Lab
from tests.lab.pyinfra import ROOT, PyinfraRun, begin, end
from tests.parts.patience import deadline
from tests.parts.s3 import Bucket

CIPHER = "c1pher-of-these-tests"
REPLICATION = "the:standbys\\own word"


@contextmanager
def behind_tls(lab: Lab, bucket: Bucket) -> Iterator[str]:
    """Yield the address of the bucket's server for hosts of the lab, with a certificate that nobody trusts.

    While the file `s3-is-down` is in the lab's folder, it accepts no connection.
    """
    gateway = commands.GATEWAY.format(lab=lab.number)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(lab.folder, gateway))

    async def forward(client: StreamReader, to_client: StreamWriter) -> None:
        with suppress(OSError):
            if not (lab.folder / "s3-is-down").exists():
                server, to_server = await asyncio.open_connection(*bucket.target)
                await asyncio.gather(_copy(client, to_server), _copy(server, to_client))
        to_client.close()

    async def serve() -> None:
        server = await asyncio.start_server(forward, gateway, 0, ssl=context)
        started.put((asyncio.get_running_loop(), server.sockets[0].getsockname()[1]))
        with suppress(asyncio.CancelledError):
            await server.serve_forever()

    started: Queue[tuple[asyncio.AbstractEventLoop, int]] = Queue()
    Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    loop, port = started.get(timeout=deadline(10))
    yield f"{gateway}:{port}"
    loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])


async def _copy(source: StreamReader, sink: StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


def _certificate(folder: Path, address: str) -> Path:
    file = folder / "tls.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={address}"]
    subprocess.run([*request, "-keyout", file, "-out", folder / "cert.pem"], check=True, capture_output=True)
    file.write_text(file.read_text() + (folder / "cert.pem").read_text())
    return file


def repository(bucket: Bucket, endpoint: str, folder: str) -> dict[str, Any]:
    """Return a repository in a folder of the bucket."""
    keys = {"access_key": {"env": "PITR_KEY"}, "secret_key": {"env": "PITR_SECRET"}}
    s3: dict[str, Any] = {
        "bucket": bucket.name,
        "folder": folder,
        "region": bucket.region,
        "endpoint": endpoint,
        **keys,
    }
    s3 |= {"path_style": True, "verify_tls": False}
    return {"s3": s3, "cipher": {"env": "PITR_CIPHER"}, "keep": {"full": 2}}


def run(lab: Lab, *options: str, timeout: int = 240, **more: Any) -> PyinfraRun:
    """Run a deploy of PostgreSQL with this group data."""
    return end(begun(lab, *options, **more), timeout)


def begun(
    lab: Lab,
    *options: str,
    bucket: Bucket,
    of: str = "postgres",
    secret: str = "",
    server: int | None = -1,
    standby: int | None = None,
    **data: Any,
) -> Popen[str]:
    """Start the same. `server` is the index of the host that runs PostgreSQL, None for all; `standby` is another."""
    arguments, inventory, variables = deploy_options(
        lab, bucket, of, secret=secret, server=server, standby=standby, **data
    )
    return begin(lab, *arguments[:-1], *options, arguments[-1], inventory=inventory, **variables)


def deploy_options(
    lab: Lab,
    bucket: Bucket,
    of: str = "postgres",
    *,
    secret: str = "",
    server: int | None = -1,
    standby: int | None = None,
    **data: Any,
) -> tuple[list[str], str, dict[str, str]]:
    """Write group data; return the arguments of pyinfra, the inventory, and the environment variables with secrets."""
    folder = lab.folder / "data"
    folder.mkdir(exist_ok=True)
    role = {"name": "shop", "password": {"env": "SHOP_PASSWORD"}, "database": True}
    values = {"postgres_roles": [role], "postgres_memory": 512, **data}
    (folder / "lab.py").write_text("".join(f"{name} = {pformat(value)}\n" for name, value in values.items()))
    variables = {
        "SHOP_PASSWORD": "shop's-own-S3cret",
        "PITR_KEY": bucket.key,
        "PITR_SECRET": secret or bucket.secret,
        "PITR_CIPHER": CIPHER,
        "REPLICATION": REPLICATION,
    }
    arguments = ["--group-data", "inventories/group_data", "--group-data", str(folder), f"deploys/{of}.py"]
    return arguments, _inventory(lab, server, standby), variables


def _inventory(lab: Lab, server: int | None, standby: int | None) -> str:
    """Return an inventory in which one host, and no other but its standby, runs PostgreSQL; or, with None, all."""
    file = lab.folder / f"server{server}-{standby}/lab"
    file.parent.mkdir(exist_ok=True)
    shipped = (ROOT / "inventories/lab").read_text()
    file.write_text(
        f"{shipped}\nfor _group in ('dev_servers', 'job_runners', 'k3s_servers', 'k3s_agents'):\n"
        f"    del globals()[_group]\npostgres_servers = {'_hosts' if server is None else f'[_hosts[{server}]]'}\n"
        + (f"postgres_standbys = [_hosts[{standby}]]\n" if standby is not None else "")
    )
    return str(file)
