"""Kill a server of a test, and start it again on the same data and ports."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs.embedded import RunningProgram
from tests.parts.patience import until


@dataclass
class Restartable:
    """A server program, with all that is needed to start it again."""

    running: subprocess.Popen[bytes]
    folder: Path
    environment: dict[str, str]
    kill_by: signal.Signals
    is_ready: Callable[[], bool]

    def restart(self) -> None:
        """Kill the server in the middle of its work, start it again, and wait until it is ready."""
        os.kill(self.running.pid, self.kill_by)
        self.running.wait()
        with (self.folder / "log-after-restart").open("ab") as log:
            self.running = subprocess.Popen(
                self.running.args, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        until(self.is_ready, seconds=30)


@contextmanager
def restartable(
    program: RunningProgram, kill_by: signal.Signals, is_ready: Callable[[], bool]
) -> Iterator[Restartable]:
    """Give a server that can be killed and started again; at the end the last one is killed."""
    body = Path(f"/proc/{program.pid}/environ").read_text()
    environment = dict(line.split("=", 1) for line in body.split("\0") if "=" in line)
    server = Restartable(program.running, program.log.parent, environment, kill_by, is_ready)
    try:
        yield server
    finally:
        server.running.send_signal(kill_by)
        server.running.wait()
