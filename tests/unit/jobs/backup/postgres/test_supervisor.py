"""Programs under a supervisor end when its stdin closes, with all processes that they started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs.backup.postgres.supervisor import ends_with_parent
from tests.parts.patience import deadline, until
from tests.parts.processes import is_gone


@contextmanager
def supervised(script: str, pass_fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        ends_with_parent(["sh", "-c", script], pass_fds),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=pass_fds,
        start_new_session=True,
    ) as started:
        yield started


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_and_the_output_are_passed_on(code: int) -> None:
    with supervised(f"echo done; exit {code}") as program:
        assert program.stdout is not None
        assert program.stdout.read() == b"done\n", "the supervisor keeps the pipe open"
        assert program.wait(deadline(5)) == code


def test_the_program_and_its_workers_end_when_stdin_closes(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! >{pids}.new; sleep 600 & echo $! $$ >>{pids}.new; mv {pids}.new {pids}; wait"
    with supervised(script) as program:
        until(pids.exists)
        assert program.stdin is not None
        program.stdin.close()
        program.wait(deadline(5))
    workers = [int(pid) for pid in pids.read_text().split()]
    assert len(workers) == 3
    until(lambda: all(is_gone(pid) for pid in workers))


def test_the_program_inherits_descriptors() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"archive\n")
    os.close(writer)
    with supervised(f"cat /proc/self/fd/{reader}", (reader,)) as program:
        assert program.stdout is not None
        assert program.stdout.read() == b"archive\n"
    os.close(reader)


@pytest.mark.parametrize(("passed", "free"), [((), 3), ((3,), 4), ((4, 3), 5), ((11, 12), 3)])
def test_the_supervisor_uses_a_descriptor_that_the_program_does_not(passed: tuple[int, ...], free: int) -> None:
    script = ends_with_parent(["pg_restore"], passed)[2]
    assert script.startswith(f"exec {free}<&0;"), script
