"""An S3 server for pgBackRest, which speaks only TLS: the shared SeaweedFS behind a proxy at the lab's gateway."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from pprint import pformat
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

from tests.lab import commands
from tests.lab.lab import Lab
from tests.lab.pyinfra import PyinfraRun, deploy
from tests.parts.s3 import Bucket

CIPHER = "c1pher-of-these-tests"


@contextmanager
def behind_tls(lab: Lab, bucket: Bucket) -> Iterator[str]:
    """Yield the address of the bucket's server for hosts of the lab, with a certificate that nobody trusts."""
    gateway = commands.GATEWAY.format(lab=lab.number)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(lab.folder, gateway))
    target = bucket.target

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                socket.create_connection(target) as server,
            ):
                back = Thread(target=partial(_copy, server, client), daemon=True)
                back.start()
                _copy(client, server)
                server.shutdown(socket.SHUT_WR)
                back.join()

    with ThreadingTCPServer((gateway, 0), Forward) as proxy:
        proxy.daemon_threads = True
        Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"{gateway}:{proxy.server_address[1]}"
        proxy.shutdown()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


def _certificate(folder: Path, address: str) -> Path:
    file = folder / "tls.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={address}"]
    subprocess.run([*request, "-keyout", file, "-out", folder / "cert.pem"], check=True, capture_output=True)
    file.write_text(file.read_text() + (folder / "cert.pem").read_text())
    return file


def repository(bucket: Bucket, endpoint: str, folder: str) -> dict[str, Any]:
    """Return a repository in a folder of the bucket."""
    keys = {"access_key": {"env": "PITR_KEY"}, "secret_key": {"env": "PITR_SECRET"}}
    s3 = {"bucket": bucket.name, "folder": folder, "region": bucket.region, "endpoint": endpoint, **keys}
    s3 |= {"path_style": True, "verify_tls": False}
    return {"s3": s3, "cipher": {"env": "PITR_CIPHER"}, "keep": {"full": 2}}


def run(lab: Lab, *options: str, bucket: Bucket, of: str = "postgres", secret: str = "", **data: Any) -> PyinfraRun:
    """Run a deploy of PostgreSQL with this group data."""
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
    }
    return deploy(lab, "--group-data", str(folder), *options, f"deploys/{of}.py", **variables)
