"""Restoring a few tables of a set, with all that is theirs."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.restore import pg_restore
from jobs.backup.restore.fill import Filling, close, close_public, define, definitions, every, rows
from jobs.backup.restore.selection import Selection, entries, rows_of, select
from jobs.backup.sets import passed_files
from jobs.backup.sets.manifest import Part, PartKind
from jobs.backup.sets.stored import pour


class _Enough(Exception):
    """The program has read what it wanted."""


def fill_tables(filling: Filling, wanted: Collection[str], *, alone: bool) -> Selection:
    """Bring tables into a database; `alone`, with the types, functions and schemas that they need."""
    with ExitStack() as files:
        archive = files.enter_context(definitions(filling.stored, filling.run.check))
        selection = select(entries(_script(filling, archive)), list(wanted))
        if not alone:
            _require_absent(filling, selection)
        ids = {*selection.own, *(selection.needed if alone else ())}
        only = files.enter_context(_list_of(sorted_as(selection, ids)))
        with filling.run.step("definitions"):
            if alone:
                close_public(filling)
            define(filling, "pre-data", archive, only)
        with filling.run.step("rows"):
            parts = _parts(filling, selection)
            rows(filling, [(part, files.enter_context(_rows_list(filling, part, selection))) for part in parts])
        with filling.run.step("indexes and constraints"):
            define(filling, "post-data", archive, only)
    with filling.run.step("statistics"):
        names = [quoting.name(*name) for name in sorted(selection.tables)]
        every(filling.into, [f"ANALYZE {name}" for name in names], filling.jobs, filling.run)
    return selection


def sorted_as(selection: Selection, ids: set[int]) -> list[int]:
    """What is needed first, then the tables' own, each in the order of the archive."""
    return [one for one in (*selection.needed, *selection.own) if one in ids]


def _script(filling: Filling, archive: IO[bytes]) -> str:
    argv = pg_restore.script(filling.program, passed_files.path(archive))
    ended = subprocess.run(argv, pass_fds=[archive.fileno()], capture_output=True, check=True)
    return ended.stdout.decode(errors="replace")


def _require_absent(filling: Filling, selection: Selection) -> None:
    with translated_errors(), filling.into.connect(autocommit=True) as there:
        for name in sorted(selection.tables):
            if there.execute("SELECT to_regclass(%s)", (quoting.name(*name),)).fetchone() != (None,):
                raise BackupError(
                    f"table {'.'.join(name)} exists in {filling.into.database} already; rename it first, "
                    "or restore into another database (--create) and copy from there"
                )


def _parts(filling: Filling, selection: Selection) -> list[Part]:
    """The parts of tables that stand alone, and the rest if anything else is wanted."""
    alone = {part.table: part for part in filling.stored.parts(PartKind.TABLE)}
    names = {quoting.name(*name) for name in selection.tables}
    others = names - alone.keys() or selection.sequences
    return [
        *(part for table, part in alone.items() if table in names),
        *(filling.stored.parts(PartKind.REST) if others else ()),
    ]


@contextmanager
def _rows_list(filling: Filling, part: Part, selection: Selection) -> Iterator[IO[bytes] | None]:
    """The entries of the rest that are wanted; of a table's own part that is all."""
    if part.kind is PartKind.TABLE:
        yield None
        return
    manifest = filling.stored.manifest
    known = [(one.schema, one.name) for one in manifest.tables]
    known += [(one.schema, one.name) for one in manifest.sequences]
    with _list_of(rows_of(_listing(filling, part), selection, known)) as only:
        yield only


@contextmanager
def _list_of(ids: Collection[int]) -> Iterator[IO[bytes]]:
    with passed_files.file() as listed:
        listed.writelines(f"{one};\n".encode() for one in ids)
        listed.flush()
        yield listed


def _listing(filling: Filling, part: Part) -> str:
    """What a part holds: its beginning tells, and no more is read than that."""
    with tempfile.TemporaryFile() as printed:
        argv = pg_restore.contents(filling.program)
        program = filling.run.process(argv, stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.DEVNULL)
        try:
            with suppress(_Enough):
                pour(filling.stored, part, _Until(program), filling.run.check)
        finally:
            close(program)
        filling.run.check()
        if program.returncode:
            raise BackupError(f"pg_restore could not list part {part.name}")
        printed.seek(0)
        return printed.read().decode(errors="replace")


class _Until:
    """A program's stdin, until it has had enough."""

    def __init__(self, program: subprocess.Popen[bytes]) -> None:
        self._program = program

    def write(self, body: bytes) -> None:
        assert self._program.stdin is not None
        try:
            self._program.stdin.write(body)
        except BrokenPipeError:
            raise _Enough from None
