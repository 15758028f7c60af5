"""Open stacks and start Terraform so that it stops together with the run."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.run.stop import Stop, Stopped

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.run.job import Run
    from terraform.program import StartProgram
    from terraform.stack import Stack


def open_stack(
    environment: Environment, name: str, start: StartProgram, on_line: Callable[[str], object] = lambda _line: None
) -> Stack:
    """Return a stack of an environment."""
    from terraform.paths import StackPaths
    from terraform.stack import Stack

    return Stack(StackPaths(repository_root(environment), environment.name, name), environment, start, on_line)


def repository_root(environment: Environment) -> Path:
    """Return the repository's root, the parent of the directory with the environment files."""
    return environment.folder.parent.absolute()


def graceful_start(run: Run) -> StartProgram:
    """Return a starter for writing commands: a stop sends one SIGINT, like Ctrl-C, and waits until Terraform ends."""

    @contextmanager
    def start(argv: Sequence[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
        run.check()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, **popen)

        def interrupt() -> None:
            # Signal only Terraform: it needs its provider processes to finish what it started.
            process.send_signal(signal.SIGINT)
            run.log.warning("interrupt sent to Terraform, waiting for operations in progress")

        try:
            with run.on_stop(interrupt):
                yield process
        except Stopped:
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise
        run.check()

    return start


def immediate_start(run: Run | Stop) -> StartProgram:
    """Return a starter for read-only commands: a stop ends Terraform with the run or the command."""

    @contextmanager
    def start(argv: Sequence[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
        yield run.process(argv, **popen)
        run.check()

    return start
