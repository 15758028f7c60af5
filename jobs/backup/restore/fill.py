"""Filling an empty database from a set: definitions, rows side by side, indexes and constraints, statistics."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from jobs.backup.concurrent import ByteCounter, Cancellation, run_together
from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import NO_LIMITS, Reached, final, translated_errors
from jobs.backup.postgres.pipes import in_big_pieces, widen
from jobs.backup.postgres.programs import Program
from jobs.backup.restore import pg_restore
from jobs.backup.restore.pg_restore import Manner, Section
from jobs.backup.sets import passed_files
from jobs.backup.sets.manifest import Part, PartKind
from jobs.backup.sets.stored import StoredSet, pour
from jobs.run.job import Run, Transient

_PASSES = ("server closed the connection", "terminating connection", "could not connect", "the database system is")
_WORDS = 20_000
_PUBLIC_IS_CLOSED = 15

_TABLES = """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm', 'p') AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    ORDER BY pg_relation_size(c.oid) DESC"""


@dataclass(frozen=True, slots=True)
class Filling:
    """What goes where, and how."""

    stored: StoredSet
    into: Reached
    program: Program
    run: Run
    jobs: int
    manner: Manner = field(default_factory=Manner)
    tables: tuple[str, ...] = ()
    """As they were asked for; none for all."""


def fill(filling: Filling, *, statistics: bool = True) -> None:
    """Bring the whole set into an empty database; statistics hold some of its values, which not every copy may keep."""
    with definitions(filling.stored, filling.run.check) as archive:
        with filling.run.step("definitions"):
            close_public(filling)
            define(filling, "pre-data", archive)
        with filling.run.step("rows"):
            rows(filling)
        with filling.run.step("indexes and constraints"):
            define(filling, "post-data", archive)
    if statistics:
        with filling.run.step("statistics"):
            analyze(filling)


def close_public(filling: Filling) -> None:
    """pg_dump 15 and newer tell of schema public only what differs from 15, where not everybody may create in it."""
    with translated_errors(), filling.into.connect(autocommit=True) as there:
        if filling.stored.archive >= _PUBLIC_IS_CLOSED > there.info.server_version // 10000:
            there.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


@contextmanager
def definitions(stored: StoredSet, check: Callable[[], None]) -> Iterator[IO[bytes]]:
    """The archive of definitions as a file: it is wanted twice, and side by side."""
    [part] = stored.parts(PartKind.DEFINITIONS)
    with passed_files.file() as archive:
        pour(stored, part, archive, check)
        archive.flush()
        yield archive


def define(filling: Filling, section: Section, archive: IO[bytes], only: IO[bytes] | None = None) -> None:
    """One section of the definitions; what comes after the rows is made side by side."""
    jobs = filling.jobs if section == "post-data" else 1
    argv = pg_restore.definitions(
        filling.program,
        filling.into.conninfo,
        section,
        passed_files.path(archive),
        filling.manner,
        jobs=jobs,
        only=_path(only),
    )
    with tempfile.TemporaryFile() as words:
        program = _start(filling, argv, words, only, archive)
        _raise_if_failed(filling, program.wait(), words)


def rows(filling: Filling, parts: Sequence[tuple[Part, IO[bytes] | None]] | None = None) -> None:
    """All parts with rows, a few side by side, the biggest first."""
    if parts is None:
        parts = [(part, None) for part in filling.stored.parts(PartKind.TABLE, PartKind.REST)]
    ending, poured, total = Cancellation(), ByteCounter(), sum(part.dumped for part, _ in parts)
    work = {part.name: partial(_part, filling, part, only, ending, poured) for part, only in parts}
    run_together(filling.run, ending, work, lambda: filling.run.progress("restored", poured.bytes, total), filling.jobs)


class _Stdin:
    """A program's stdin that counts what goes through, and takes no offence at a program that has had enough."""

    def __init__(self, program: subprocess.Popen[bytes], poured: ByteCounter) -> None:
        assert program.stdin is not None
        widen(program.stdin)
        self._pipe = program.stdin
        self._program = program
        self._poured = poured
        self._enough = False

    def write(self, body: bytes) -> None:
        if not self._enough:
            try:
                self._pipe.write(body)
            except BrokenPipeError:
                if self._program.wait():
                    raise
                self._enough = True
        self._poured.add(len(body))


def _part(filling: Filling, part: Part, only: IO[bytes] | None, ending: Cancellation, poured: ByteCounter) -> None:
    """Stream one part from the store into pg_restore, whose own words tell best why it broke off."""
    argv = pg_restore.rows(filling.program, filling.into.conninfo, filling.manner, only=_path(only))
    with tempfile.TemporaryFile() as words:
        program = _start(filling, argv, words, only, stdin=subprocess.PIPE)
        try:
            with ending.ends(program.terminate):
                with suppress(BrokenPipeError):
                    pour(filling.stored, part, _Stdin(program, poured), lambda: _check(filling.run, ending))
                close(program)
        except BaseException:
            program.terminate()
            close(program)
            raise
        _raise_if_failed(filling, program.returncode, words, part)


def _check(run: Run, ending: Cancellation) -> None:
    """For loops: raises once the run is told to end, or something beside it failed."""
    run.check()
    ending.check()


def _start(
    filling: Filling, argv: Sequence[str], words: IO[bytes], *files: IO[bytes] | None, **popen: Any
) -> subprocess.Popen[bytes]:
    environment = {**filling.into.environment, "PGOPTIONS": pg_restore.OPTIONS}
    passed = [file.fileno() for file in files if file]
    return filling.run.process(
        in_big_pieces(argv), env=environment, pass_fds=passed, stdout=subprocess.DEVNULL, stderr=words, **popen
    )


def _path(file: IO[bytes] | None) -> Path | None:
    return passed_files.path(file) if file else None


def close(program: subprocess.Popen[bytes]) -> None:
    """Tell a program that no more is coming, and wait until it has ended."""
    assert program.stdin is not None
    with suppress(OSError):
        program.stdin.close()
    program.wait()


def _raise_if_failed(filling: Filling, code: int, words: IO[bytes], part: Part | None = None) -> None:
    if not code:
        return
    filling.run.check()
    from inventories import redact

    words.seek(0)
    said = " ".join(redact(words.read(_WORDS).decode(errors="replace")).split()) or f"it ended with {code}"
    where = f" of part {part.name}" if part is not None else ""
    sentence = f"pg_restore{where} into {filling.into.database} failed: {said}"
    raise Transient(sentence) if any(sign in said for sign in _PASSES) and not final(said) else BackupError(sentence)


def analyze(filling: Filling, command: str = "ANALYZE") -> None:
    """Fresh statistics, without which the first queries are slow."""
    with translated_errors(), filling.into.connect(autocommit=True) as there:
        tables = [name for (name,) in there.execute(_TABLES).fetchall()]
    every(filling.into, [f"{command} {name}" for name in tables], filling.jobs, filling.run)


def every(into: Reached, statements: Sequence[str], jobs: int, run: Run) -> list[tuple[Any, ...] | None]:
    """Run statements over a few connections; what each answered first, in their order."""
    answers: list[tuple[Any, ...] | None] = [None] * len(statements)
    left, lock, ending = iter(enumerate(statements)), threading.Lock(), Cancellation()

    def work() -> None:
        with (
            translated_errors(),
            into.connect(autocommit=True, options=pg_restore.OPTIONS) as there,
            ending.ends(there.cancel),
        ):
            there.execute(NO_LIMITS)
            there.execute("SET row_security = off")
            while True:
                ending.check()
                with lock:
                    number, statement = next(left, (-1, ""))
                if number < 0:
                    return
                answer = there.execute(statement)
                answers[number] = answer.fetchone() if answer.description else None

    run_together(run, ending, {str(number): work for number in range(min(jobs, len(statements)))})
    return answers
