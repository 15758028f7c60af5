"""A program at a terminal, and who sits there."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Mapping, Sequence


def answered(argv: Sequence[str], environment: Mapping[str, str], question: str, answer: str) -> tuple[int, str]:
    """How a program ends that asks something, and what it says then: after an answer, or after Ctrl-C for none."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        argv, env=environment, text=True, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as asking:
        try:
            assert asking.stdout
            said = ""
            while not said.endswith(question):
                said += (letter := asking.stdout.read(1))
                assert letter, said
            if answer:
                os.write(ours, f"{answer}\n".encode())
            else:
                asking.send_signal(signal.SIGINT)
            said, _ = asking.communicate(timeout=60)
        finally:
            asking.kill()
    os.close(ours)
    os.close(theirs)
    return asking.returncode, said
