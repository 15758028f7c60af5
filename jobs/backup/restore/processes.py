"""The processes that a restore starts: pg_restore and psql."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import is_permanent
from jobs.backup.postgres.pipes import with_large_buffers
from jobs.backup.postgres.program_errors import error_line, stderr_lines
from jobs.backup.postgres.supervisor import ends_with_parent
from jobs.backup.restore.task import RestoreTask
from jobs.backup.sets import passed_files
from jobs.backup.sets.manifest import Part, PartKind
from jobs.run.job import Transient

_TRANSIENT = (
    "server closed the connection",
    "terminating connection",
    "could not connect",
    "the database system is",
    "deadlock detected",  # parallel statements of pg_restore, on foreign keys of partitioned tables
)


# Functions of a set can raise warnings without end, and psql prints them into a file.
MOST_PRINTED = 64 << 20
_PRINTED_TOO_MUCH = (-signal.SIGXFSZ, 128 + signal.SIGXFSZ)


def start_restoring(
    task: RestoreTask, argv: Sequence[str], stderr: IO[bytes], *files: IO[bytes] | None, **popen: Any
) -> subprocess.Popen[bytes]:
    """Start a program that restores a part of the task. It inherits the files, and ends with this process."""
    passed = [file.fileno() for file in files if file]
    limited = ["/bin/sh", "-c", f'ulimit -f {MOST_PRINTED // 512}; exec "$@"', "limited"]
    command = [*limited, *with_large_buffers(argv)]
    if "stdin" not in popen:  # a program that reads our pipe ends with it; the others need a supervisor
        command, popen = ends_with_parent(command, passed), {**popen, "stdin": subprocess.PIPE}
    return task.run.process(
        command,
        env=task.executes.environment,
        pass_fds=passed,
        stderr=stderr,
        **{"stdout": subprocess.DEVNULL, **popen},
    )


def child_path(file: IO[bytes] | None) -> Path | None:
    """Return the path of an inherited file in the program; None without a file."""
    return passed_files.path_for_child(file) if file else None


def close_stdin(process: subprocess.Popen[bytes]) -> None:
    """Close the stdin of a program and wait until the program ends."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    process.wait()


def raise_if_failed(task: RestoreTask, code: int, stderr: IO[bytes], part: Part | None = None) -> None:
    """Raise the error of a program that failed; Transient if it can succeed when it is tried again."""
    if not code:
        return
    task.run.check()
    output = error_output(stderr, code)
    if code in _PRINTED_TOO_MUCH:
        output = f"it printed more than {MOST_PRINTED >> 20} MiB; a function of the set raises these warnings"
    of_part = f" of part {part.name}" if part is not None else ""
    program = "psql" if part is not None and part.kind is PartKind.SEGMENT else "pg_restore"
    message = f"{program}{of_part} into {task.into.database} failed: {output}"
    raise Transient(message) if is_transient(output) else BackupError(message)


def is_transient(output: str) -> bool:
    """Whether pg_restore can succeed if it is tried again."""
    return any(sign in output for sign in _TRANSIENT) and not is_permanent(output)


def error_output(stderr: IO[bytes], code: int) -> str:
    """Return the error that a failed program printed; its exit code if it printed none."""
    stderr.seek(0)
    return error_line(stderr_lines(stderr)) or f"exit code {code}"


@contextmanager
def list_file(entries: Collection[int]) -> Iterator[IO[bytes]]:
    """Write a list for pg_restore --use-list."""
    with passed_files.new_file() as use_list:
        use_list.writelines(f"{entry};\n".encode() for entry in entries)
        use_list.flush()
        yield use_list
