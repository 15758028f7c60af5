"""A way to a database that can't be reached directly: ssh, or kubectl port-forward."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Protocol

from inventories import redact
from jobs.backup.errors import NoProgram
from jobs.run.job import Run, Transient

READY_WITHIN = 30.0

# Ends the tunnel when its stdin closes, which it does however groundcrew dies; else ends as the tunnel does.
_BOUND = (
    'exec 3<&0; "$@" </dev/null 3<&- & tunnel=$!; '
    '(read -r _ <&3; kill "$tunnel") 2>/dev/null & watch=$!; '
    'wait "$tunnel"; code=$?; kill "$watch" 2>/dev/null; exit "$code"'
)


class Via(Protocol):
    """The `via` of an environment file: exactly one of ssh and kubernetes is set."""

    @property
    def ssh(self) -> str | None: ...
    @property
    def kubernetes(self) -> str | None: ...
    @property
    def context(self) -> str | None: ...


def command(via: Via, local: int, host: str, port: str) -> list[str]:
    """The tunnel's whole command line: from a port on this machine to the database."""
    if via.ssh:
        return ssh(via.ssh, local, host, port)
    return kubectl(via.kubernetes or "", via.context, local, port)


def ssh(bastion: str, local: int, host: str, port: str) -> list[str]:
    """Through a host that is logged into without a question; a host that is a folder means a Unix socket over there."""
    there = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{_bracketed(host)}:{port}"
    return [
        *("ssh", "-N", "-T"),
        *("-o", "BatchMode=yes"),
        *("-o", "ExitOnForwardFailure=yes"),
        *("-o", "ConnectTimeout=15"),
        *("-o", "ServerAliveInterval=15"),
        *("-o", "ServerAliveCountMax=4"),
        *("-o", "ControlPath=none"),
        *("-L", f"127.0.0.1:{local}:{there}"),
        *("--", bastion),
    ]


def kubectl(target: str, context: str | None, local: int, port: str) -> list[str]:
    """Into a cluster: the target is namespace/kind/name, or namespace/name for a pod."""
    namespace, _, what = target.partition("/")
    return [
        "kubectl",
        *([f"--context={context}"] if context else []),
        f"--namespace={namespace}",
        "port-forward",
        "--address=127.0.0.1",
        what if "/" in what else f"pod/{what}",
        f"{local}:{port}",
    ]


@contextmanager
def tunnel(run: Run, via: Via, host: str, port: str, ready_within: float = READY_WITHIN) -> Iterator[int]:
    """While inside, the database is reached at a port of this machine."""
    local = _free_port()
    argv = command(via, local, host, port)
    if shutil.which(argv[0]) is None:
        raise NoProgram(f"{argv[0]} is not on this machine, and the way to the database leads through it: install it")
    with tempfile.TemporaryFile() as words:
        program = run.process(bound(argv), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words)
        try:
            _wait_until_ready(run, program, words, local, ready_within)
            yield local
        finally:
            _end(program)


def bound(argv: Sequence[str]) -> list[str]:
    """A command that ends with groundcrew, even when that is killed outright."""
    return ["/bin/sh", "-c", _BOUND, "tunnel", *argv]


def _wait_until_ready(run: Run, program: subprocess.Popen[bytes], words: IO[bytes], local: int, within: float) -> None:
    deadline = time.monotonic() + within
    while not _answers(local):
        run.check()
        if program.poll() is not None:
            raise Transient(f"the tunnel ended before it stood: {_last_of(words) or f'exit code {program.returncode}'}")
        if time.monotonic() > deadline:
            raise Transient(f"the tunnel did not stand within {within:.0f} s: {_last_of(words) or 'it said nothing'}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _last_of(words: IO[bytes]) -> str:
    words.seek(0)
    lines = words.read(50_000).decode(errors="replace").strip().splitlines()
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
