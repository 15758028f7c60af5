"""Make the script of a segment from the rows that COPY writes, and count them on their way."""

from __future__ import annotations

from dataclasses import replace

from jobs.backup.errors import BackupError
from jobs.backup.sets.segments import Segment, script_end, script_start
from jobs.backup.take.definitions import Chunks
from jobs.backup.take.parts import Table

_NEWLINE = b"\n"


class SegmentScript:
    """The script of one segment. It knows the number of rows once all have passed."""

    def __init__(self, table: Table, encoding: str) -> None:
        self.table = table
        self.segment = Segment(table.schema, table.name, table.columns, encoding, rows=0)

    def around(self, rows: Chunks) -> Chunks:
        """Yield the script with these rows. COPY writes each row as one line."""
        number, last = 0, _NEWLINE
        yield memoryview(script_start(self.segment))
        for chunk in rows:
            body = bytes(chunk)
            number, last = number + body.count(_NEWLINE), body[-1:]
            yield chunk
        if last != _NEWLINE:
            raise BackupError(f"table {self.table.quoted}: what psql wrote does not end with a whole row")
        self.segment = replace(self.segment, rows=number)
        yield memoryview(script_end())
