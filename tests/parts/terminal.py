"""Answer a program that prompts on a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Mapping, Sequence

from tests.parts.patience import deadline


def answered(argv: Sequence[str], environment: Mapping[str, str], question: str, answer: str) -> tuple[int, str]:
    """Start a program, answer its question (with Ctrl-C if the answer is empty); return its exit code and output."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        argv, env=environment, text=True, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as program:
        try:
            assert program.stdout
            output = ""
            while not output.endswith(question):
                output += (character := program.stdout.read(1))
                assert character, output
            if answer:
                os.write(controller, f"{answer}\n".encode())
            else:
                program.send_signal(signal.SIGINT)
            output, _ = program.communicate(timeout=deadline(60))
        finally:
            program.kill()
    os.close(controller)
    os.close(terminal)
    return program.returncode, output
