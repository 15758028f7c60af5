"""Filling an empty database from a set: definitions, rows side by side, indexes and constraints, statistics."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from jobs.backup import pg_restore
from jobs.backup.connection import NO_LIMITS, Reached, final
from jobs.backup.errors import BackupError, Damaged
from jobs.backup.manifest import Kind, Part
from jobs.backup.pg_restore import Manner, Section
from jobs.backup.programs import Program
from jobs.backup.stored import StoredSet, pour
from jobs.backup.target import told
from jobs.run.job import Failed, Passing, Run

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


class Brake:
    """Ends everything that works side by side as soon as one of them has failed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._pulled = threading.Event()
        self._programs: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def check(self) -> None:
        """For loops: raises once the run is told to end, or another one failed."""
        self._run.check()
        if self._pulled.is_set():
            raise _Ended

    def start(self, filling: Filling, argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
        """Start a program that is ended when the brake is pulled."""
        with self._lock:
            self.check()
            program = self._run.process(argv, env=_environment(filling.into), **popen)
            self._programs.append(program)
            return program

    def pull(self) -> None:
        """End all."""
        with self._lock:
            self._pulled.set()
            for program in self._programs:
                with suppress(OSError):
                    program.terminate()


class _Ended(Failed):
    """Ended because another one failed, which is the one to tell of."""


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
    with told(), filling.into.connect(autocommit=True) as there:
        if filling.stored.archive >= _PUBLIC_IS_CLOSED > there.info.server_version // 10000:
            there.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


@contextmanager
def definitions(stored: StoredSet, check: Callable[[], None]) -> Iterator[Path]:
    """The archive of definitions as a file that only we can read: it is wanted twice, and side by side."""
    [part] = stored.parts(Kind.DEFINITIONS)
    with tempfile.NamedTemporaryFile(prefix="groundcrew-definitions-") as file:
        pour(stored, part, file, check)
        file.flush()
        yield Path(file.name)


def define(filling: Filling, section: Section, archive: Path, only: Path | None = None) -> None:
    """One section of the definitions; what comes after the rows is made side by side."""
    jobs = filling.jobs if section == "post-data" else 1
    argv = pg_restore.definitions(
        filling.program, filling.into.conninfo, section, archive, filling.manner, jobs=jobs, only=only
    )
    with tempfile.TemporaryFile() as words:
        brake = Brake(filling.run)
        program = brake.start(filling, argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words)
        _raise_if_failed(filling, program.wait(), words)


def rows(filling: Filling, parts: Sequence[tuple[Part, Path | None]] | None = None) -> None:
    """All parts with rows, a few side by side, the biggest first."""
    if parts is None:
        parts = [(part, None) for part in filling.stored.parts(Kind.TABLE, Kind.REST)]
    brake, poured = Brake(filling.run), Poured(filling.run, sum(part.dumped for part, _ in parts))
    works = [partial(_part, filling, part, only, brake, poured) for part, only in parts]
    side_by_side(filling.jobs, brake, works)


def side_by_side(jobs: int, brake: Brake, works: Sequence[Callable[[], None]]) -> None:
    """A few works at once; the first that fails ends the others, and is the one that is told."""
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="restore") as pool:
        futures = [pool.submit(work) for work in works]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() for future in futures) or any(future.exception() for future in futures):
                brake.pull()
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=_weight):
        raise error


def _weight(error: BaseException) -> int:
    return 0 if isinstance(error, Damaged) else 2 if isinstance(error, _Ended) else 1


class Poured:
    """How many bytes went into the database so far, all parts together."""

    def __init__(self, run: Run, total: int) -> None:
        self._run = run
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count on, and tell it."""
        with self._lock:
            self._done += count
            done = self._done
        self._run.progress("restore", done, self._total)


class _Stdin:
    """A program's stdin that counts what goes through, and takes no offence at a program that has had enough."""

    def __init__(self, program: subprocess.Popen[bytes], poured: Poured) -> None:
        self._program = program
        self._poured = poured
        self._enough = False

    def write(self, body: bytes) -> None:
        assert self._program.stdin is not None
        if not self._enough:
            try:
                self._program.stdin.write(body)
            except BrokenPipeError:
                if self._program.wait():
                    raise
                self._enough = True
        self._poured.add(len(body))


def _part(filling: Filling, part: Part, only: Path | None, brake: Brake, poured: Poured) -> None:
    """Stream one part from the store into pg_restore, whose own words tell best why it broke off."""
    argv = pg_restore.rows(filling.program, filling.into.conninfo, filling.manner, only=only)
    with tempfile.TemporaryFile() as words:
        program = brake.start(filling, argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words)
        try:
            with suppress(BrokenPipeError):
                pour(filling.stored, part, _Stdin(program, poured), brake.check)
        except BaseException:
            program.terminate()
            raise
        finally:
            close(program)
        if program.returncode:
            brake.check()
        _raise_if_failed(filling, program.returncode, words, part)


def close(program: subprocess.Popen[bytes]) -> None:
    """Tell a program that no more is coming, and wait until it has ended."""
    assert program.stdin is not None
    with suppress(OSError):
        program.stdin.close()
    program.wait()


def _environment(into: Reached) -> dict[str, str]:
    return {**into.environment, "PGOPTIONS": pg_restore.OPTIONS}


def _raise_if_failed(filling: Filling, code: int, words: IO[bytes], part: Part | None = None) -> None:
    if not code:
        return
    filling.run.check()
    from inventories import redact

    words.seek(0)
    said = " ".join(redact(words.read(_WORDS).decode(errors="replace")).split()) or f"it ended with {code}"
    where = f" of part {part.name}" if part is not None else ""
    sentence = f"pg_restore{where} into {filling.into.database} failed: {said}"
    raise Passing(sentence) if any(sign in said for sign in _PASSES) and not final(said) else BackupError(sentence)


def analyze(filling: Filling, command: str = "ANALYZE") -> None:
    """Fresh statistics, without which the first queries are slow."""
    with told(), filling.into.connect(autocommit=True) as there:
        tables = [name for (name,) in there.execute(_TABLES).fetchall()]
    every(filling.into, [f"{command} {name}" for name in tables], filling.jobs, filling.run)


def every(into: Reached, statements: Sequence[str], jobs: int, run: Run) -> list[tuple[Any, ...] | None]:
    """Run statements over a few connections; what each answered first, in their order."""
    answers: list[tuple[Any, ...] | None] = [None] * len(statements)
    left = iter(enumerate(statements))
    lock, brake = threading.Lock(), Brake(run)

    def work() -> None:
        with told(), into.connect(autocommit=True, options=pg_restore.OPTIONS) as there, run.on_stop(there.cancel):
            there.execute(NO_LIMITS)
            there.execute("SET row_security = off")
            while True:
                brake.check()
                with lock:
                    number, statement = next(left, (-1, ""))
                if number < 0:
                    return
                answer = there.execute(statement)
                answers[number] = answer.fetchone() if answer.description else None

    side_by_side(jobs, brake, [work] * min(jobs, len(statements)))
    return answers
