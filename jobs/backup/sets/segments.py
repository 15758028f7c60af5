"""Segments: some or all rows of a big table in a part of its own, stored as a script that psql can restore.

A restore of ours never gives such a script to psql, because psql would execute every command in it. It compares the
first statements with those that it expects, and gives psql only the rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobs.backup.errors import UnreadableSet
from jobs.backup.postgres import quoting
from jobs.backup.sets.encryption import Sink

_ENCODING = re.compile(r"[A-Za-z0-9_]+")
_END = b"\\.\n"
_LINE_AND_END = b"\n" + _END
_SIGN_OF_END = b"\n\\."
"""No row begins like this: COPY writes a backslash of a value as two."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of one table, and what COPY needs to know to restore them."""

    schema: str
    table: str
    columns: tuple[str, ...]
    encoding: str
    rows: int

    @property
    def quoted(self) -> str:
        return quoting.identifier(self.schema, self.table)


def require_valid(segment: Segment) -> Segment:
    """Return the segment; ValueError if no backup has written it."""
    names = (segment.schema, segment.table, *segment.columns)
    if not segment.columns or not all(names) or any("\0" in name for name in names):
        raise ValueError("a segment has no columns, or a name that PostgreSQL does not allow")
    if not _ENCODING.fullmatch(segment.encoding) or segment.rows < 0:
        raise ValueError("a segment has an encoding or a number of rows that is not valid")
    return segment


def script_start(segment: Segment) -> bytes:
    """Return the statements before the rows."""
    return (
        f"SET client_encoding = '{segment.encoding}';\n"
        "SET search_path = '';\n"
        "SET row_security = off;\n"
        "SET xmloption = content;\n"
        "SET statement_timeout = 0;\n"
        f"{copy_in_statement(segment)};\n"
    ).encode()


def script_end() -> bytes:
    """Return the line after the rows."""
    return _END


def copy_in_statement(segment: Segment) -> str:
    """Return the COPY that reads the rows from stdin."""
    return f"COPY {segment.quoted} ({column_list(segment.columns)}) FROM stdin"


def column_list(columns: tuple[str, ...]) -> str:
    return ", ".join(quoting.identifier(column) for column in columns)


class RowsOfScript:
    """A sink that passes on the rows of a stored script, and raises UnreadableSet if the script is not as expected."""

    def __init__(self, sink: Sink, segment: Segment) -> None:
        self._sink = sink
        self._start = script_start(segment)
        self._kept = b""
        """What was not passed on yet: it can be the start, or the newline and the line after the last row."""
        self._in_rows = False
        self._passed_on = False

    def write(self, body: bytes) -> None:
        body = self._kept + body
        if not self._in_rows:
            start = len(self._start)
            if body[:start] != self._start[: len(body)]:
                raise UnreadableSet("it does not begin with the statements that a backup writes")
            if len(body) < start:
                self._kept = body
                return
            self._in_rows = True
            body = body[start - 1 :]  # the first row follows a newline, too
        end = body.find(_SIGN_OF_END) if b"\\" in body else -1  # to look for one byte is ten times faster
        if end >= 0 and not _LINE_AND_END.startswith(body[end:]):
            raise UnreadableSet("its rows end before the part does")
        rows, self._kept = body[: -len(_LINE_AND_END)], body[-len(_LINE_AND_END) :]
        if rows:
            self._pass_on(rows)

    def finish(self) -> None:
        """Pass on the end of the last row. Raise if the script is cut off."""
        if not self._in_rows or self._kept != _LINE_AND_END:
            raise UnreadableSet("its rows are cut off")
        self._pass_on(b"\n")

    def _pass_on(self, rows: bytes) -> None:
        """Pass on rows, without the newline that the first row follows."""
        rows, self._passed_on = rows if self._passed_on else rows[1:], True
        if rows:
            self._sink.write(rows)
