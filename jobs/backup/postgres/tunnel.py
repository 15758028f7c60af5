"""Tunnels to databases that are not reachable directly: ssh, or kubectl port-forward."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from inventories import TunnelSettings, redact
from jobs.backup.errors import NoProgram
from jobs.backup.postgres.supervisor import ends_with_parent
from jobs.run.job import Run, Transient

READY_TIMEOUT = 30.0

_SOCKETS = Path("/proc/net/tcp")  # the table of IPv4 sockets; only Linux has it
_LISTENS = "0A"


def tunnel_command(via: TunnelSettings, local_port: int, host: str, port: str) -> list[str]:
    """Return the command that forwards a port of this machine to the database."""
    if via.ssh:
        return ssh_command(via.ssh, local_port, host, port)
    return kubectl_command(via.kubernetes or "", via.context, local_port, port)


def ssh_command(bastion: str, local_port: int, host: str, port: str) -> list[str]:
    """Return the ssh command, which never prompts. If `host` is a folder, forward to the Unix socket in it."""
    destination = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{_bracketed(host)}:{port}"
    return [
        *("ssh", "-N", "-T"),
        *("-o", "BatchMode=yes"),
        *("-o", "ExitOnForwardFailure=yes"),
        *("-o", "ConnectTimeout=15"),
        *("-o", "ServerAliveInterval=15"),
        *("-o", "ServerAliveCountMax=4"),
        *("-o", "ControlPath=none"),
        *("-L", f"127.0.0.1:{local_port}:{destination}"),
        *("--", bastion),
    ]


def kubectl_command(target: str, context: str | None, local_port: int, port: str) -> list[str]:
    """Return the kubectl command. The target is namespace/kind/name, or namespace/name for a pod."""
    namespace, _, resource = target.partition("/")
    return [
        "kubectl",
        *([f"--context={context}"] if context else []),
        f"--namespace={namespace}",
        "port-forward",
        "--address=127.0.0.1",
        resource if "/" in resource else f"pod/{resource}",
        f"{local_port}:{port}",
    ]


@contextmanager
def open_tunnel(
    run: Run, via: TunnelSettings, host: str, port: str, ready_timeout: float = READY_TIMEOUT
) -> Iterator[int]:
    """Yield the port of this machine that leads to the database inside this context."""
    local_port = _free_port()
    argv = tunnel_command(via, local_port, host, port)
    if shutil.which(argv[0]) is None:
        raise NoProgram(
            f"{argv[0]} is not installed on this machine, and the tunnel to the database needs it; install it"
        )
    with tempfile.TemporaryFile() as stderr:
        program = run.process(ends_with_parent(argv), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            _wait_until_ready(run, program, stderr, local_port, ready_timeout)
            yield local_port
        finally:
            _end(program)


def _wait_until_ready(
    run: Run, program: subprocess.Popen[bytes], stderr: IO[bytes], local_port: int, timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while program.poll() is not None or not _accepts_connections(local_port):
        run.check()
        if program.poll() is not None:
            reason = _last_line(stderr) or f"exit code {program.returncode}"
            raise Transient(f"the tunnel ended before it was ready: {reason}")
        if time.monotonic() > deadline:
            reason = _last_line(stderr) or "no error message"
            raise Transient(f"the tunnel was not ready within {timeout:.0f} s: {reason}")
        time.sleep(0.05)


def _accepts_connections(port: int) -> bool:
    """Return whether a program of this user listens. Another user could listen first and would get the password."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return not _SOCKETS.exists() or owner_of_listener(_SOCKETS.read_text(), port) == os.geteuid()
    return False


def owner_of_listener(table: str, port: int) -> int | None:
    """Return the user ID of the program that listens on a port of 127.0.0.1, from Linux's table of sockets."""
    address = f"0100007F:{port:04X}"
    for fields in (line.split() for line in table.splitlines()[1:]):
        if len(fields) > 7 and fields[1] == address and fields[3] == _LISTENS:
            return int(fields[7])
    return None


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read(50_000).decode(errors="replace").strip().splitlines()
    return redact(lines[-1]) if lines else ""


def _end(program: subprocess.Popen[bytes]) -> None:
    if program.stdin is not None:
        with suppress(OSError):
            program.stdin.close()
    try:
        program.wait(timeout=5)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
