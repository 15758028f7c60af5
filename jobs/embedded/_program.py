"""Programs that run for as long as somebody needs them, and not a moment longer."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from inventories import CrewError

LOWEST_PORT, HIGHEST_PORT = 10_000, 20_000  # those 10,000 above are below what Linux hands out by itself, too


class EmbeddedError(CrewError):
    """An embedded server can't be had: the message says which, why, and the way out."""


class NotInstalled(EmbeddedError):
    """The programs are not on this machine."""


class NotStarted(EmbeddedError):
    """The program was started and did not become ready."""


@dataclass(frozen=True, slots=True)
class RunningProgram:
    """A program that was started here, with all its output in one file."""

    name: str
    running: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.running.pid

    def wait_until(self, ready: Callable[[], bool], patience: float = 60) -> None:
        """Return as soon as it is ready; NotStarted, with its last words, when it ended or took too long."""
        give_up = time.monotonic() + patience
        while not ready():
            if self.running.poll() is not None:
                raise NotStarted(f"{self.name} ended with {self.running.returncode} at once: {self.last_words()}")
            if time.monotonic() > give_up:
                raise NotStarted(f"{self.name} is not ready after {patience:g} s: {self.last_words()}")
            time.sleep(0.02)

    def last_words(self) -> str:
        """The end of its output, on one line."""
        lines = self.log.read_text(errors="replace").split("\n")
        return " | ".join(line.strip() for line in lines if line.strip())[-600:] or "it said nothing"


@contextmanager
def start_program(
    name: str,
    argv: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str],
    end: signal.Signals = signal.SIGTERM,
    patience: float = 5,
) -> Iterator[RunningProgram]:
    """Run a program in the folder of its log; it is ended with the block, or with this process however that goes."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [*_ended_with_us(end), *argv],
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C on a terminal is meant for us: we end it when we have cleaned up
        )
    try:
        yield RunningProgram(name, running, log)
    finally:
        _stop(running, end, patience)


def _ended_with_us(end: signal.Signals) -> list[str]:
    """On Linux the kernel sends the signal once the thread that started the program is gone, even by SIGKILL."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", end.name.removeprefix("SIG"), "--", *if_parent_lives()] if setpriv else []


def if_parent_lives() -> list[str]:
    """Run a program only if this process still exists: it can end just before setpriv asks for the signal."""
    return ["/bin/sh", "-c", f'[ "$PPID" = {os.getpid()} ] && exec "$@"', "sh"]


def _stop(running: subprocess.Popen[bytes], end: signal.Signals, patience: float) -> None:
    if running.poll() is None:
        running.send_signal(end)
    try:
        running.wait(patience)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


def free_port() -> int:
    """A TCP port that nobody listens on here, nor on the one 10,000 above it."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many such ports, all different."""
    candidates = random.sample(range(LOWEST_PORT, HIGHEST_PORT), count + 200)
    return list(islice((port for port in candidates if _is_free(port) and _is_free(port + 10_000)), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
