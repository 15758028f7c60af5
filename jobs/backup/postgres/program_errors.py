"""What PostgreSQL's programs print on stderr, without the rows and queries in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import IO

from inventories import redact

_MAX_LENGTH = 500

_ERROR = re.compile(r"pg_\w+: error: |psql: error: |(?:psql:.*?:\d+: )?(?:ERROR|FATAL|PANIC): ")
_SERVER_ERROR = re.compile(r"pg_\w+: (?:detail|error): Error message from server: ")
_SERVER_MESSAGE = re.compile(r"(?:psql:.*?:\d+: )?(?:DEBUG|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC): ")
_OWN = re.compile(r"pg_\w+: ")


def stderr_lines(pipe: IO[bytes]) -> Iterator[str]:
    """Yield the lines without secrets. Of a long line only the beginning is kept, which says what failed."""
    at_start = True
    while piece := pipe.readline(_MAX_LENGTH):
        line = piece.decode(errors="replace").strip()
        if at_start and line:
            yield redact(line)
        at_start = piece.endswith(b"\n")


def error_line(lines: Iterable[str]) -> str:
    """Return the first error, on one line; "" if there is none.

    What follows can contain rows and queries (DETAIL, CONTEXT, STATEMENT, LINE, "Command was"), and a row can contain
    a line that looks like an error. Of all that follows, only the server's own error is used, right after the first.
    """
    remaining = iter(lines)
    first = ""
    for line in remaining:
        if _ERROR.match(line):
            following = next(remaining, "")
            return " ".join(f"{line} {following if _SERVER_ERROR.match(following) else ''}".split())
        first = first or line
    # The program did not start, for example. Messages of the server can contain rows.
    return "" if _SERVER_MESSAGE.match(first) else first


def own_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of pg_dump itself, without messages that the server sent."""
    return tuple(line for line in lines if _OWN.match(line))
