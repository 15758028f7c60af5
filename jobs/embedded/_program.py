"""Programs that run inside a context, and end with it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from inventories import CrewError

LOWEST_PORT, HIGHEST_PORT = 10_000, 20_000  # plus 10,000, they are still below Linux's ephemeral ports


class EmbeddedError(CrewError):
    """An embedded server cannot be started; the message names it, the reason and the remedy."""


class NotInstalled(EmbeddedError):
    """The program is not installed on this machine."""


class NotStarted(EmbeddedError):
    """The program was started but did not become ready."""


@dataclass(frozen=True, slots=True)
class RunningProgram:
    """A started program, with all its output in one file."""

    name: str
    running: subprocess.Popen[bytes]
    log: Path
    end: signal.Signals = signal.SIGTERM
    sandboxed: bool = False

    @property
    def pid(self) -> int:
        return self.running.pid

    def terminate(self) -> None:
        """Send the signal that ends it. In a sandbox the first process gets it, which ends after all others."""
        if self.running.poll() is None:
            with suppress(ProcessLookupError):
                os.kill((_first_child(self.pid) if self.sandboxed else None) or self.pid, self.end)

    def wait_until(self, ready: Callable[[], bool], timeout: float = 60) -> None:
        """Wait until the program is ready; raise NotStarted with its last output if it ends or takes too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.running.poll() is not None:
                raise NotStarted(f"{self.name} exited with {self.running.returncode}: {self.output_tail()}")
            if time.monotonic() > deadline:
                raise NotStarted(f"{self.name} is not ready after {timeout:g} s: {self.output_tail()}")
            time.sleep(0.02)

    def output_tail(self) -> str:
        """Return the end of its output, on one line."""
        lines = self.log.read_text(errors="replace").split("\n")
        return " | ".join(line.strip() for line in lines if line.strip())[-600:] or "it printed nothing"


@contextmanager
def start_program(
    name: str,
    argv: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str],
    end: signal.Signals = signal.SIGTERM,
    grace: float = 5,
    sandboxed: bool = False,
) -> Iterator[RunningProgram]:
    """Run a program in the directory of its log file. It ends with this context, or with this process."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [*_end_with_parent(end), *argv],
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C must not reach it: we end it after we have cleaned up
        )
    program = RunningProgram(name, running, log, end, sandboxed)
    try:
        yield program
    finally:
        _stop(program, grace)


def _end_with_parent(end: signal.Signals) -> list[str]:
    """On Linux, let the kernel send the signal when the thread that started the program ends, even by SIGKILL."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", end.name.removeprefix("SIG"), "--", *if_parent_lives()] if setpriv else []


# If memory runs out, Linux ends this program and its children before all others: hostile sets can use any amount of it.
_FIRST_OUT_OF_MEMORY = "{ echo 1000 >/proc/$$/oom_score_adj; } 2>/dev/null"


def if_parent_lives() -> list[str]:
    """Run a program only if this process still exists: it can end just before setpriv asks for the signal."""
    return ["/bin/sh", "-c", f'[ "$PPID" = {os.getpid()} ] || exit 1; {_FIRST_OUT_OF_MEMORY}; exec "$@"', "sh"]


def _stop(program: RunningProgram, grace: float) -> None:
    program.terminate()
    try:
        program.running.wait(grace)
    except subprocess.TimeoutExpired:
        program.running.kill()
        program.running.wait()


def _first_child(pid: int) -> int | None:
    """Return the first child of a process; None if it has none, or if the kernel does not list them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def free_port() -> int:
    """Return a TCP port that is free on this machine, like the port 10,000 above it."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return several free ports."""
    candidates = random.sample(range(LOWEST_PORT, HIGHEST_PORT), count + 200)
    return list(islice((port for port in candidates if _is_free(port) and _is_free(port + 10_000)), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
