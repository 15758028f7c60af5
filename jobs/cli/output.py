"""What commands print: sentences, tables and JSON. On a terminal they have colours.

All output of commands goes through this module. It redacts secrets and escapes control characters, since text from
outside (names, tags, messages) can contain them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any, NamedTuple, TextIO

import typer

from inventories import CrewError, redact, redact_all
from inventories.printable import printable, printable_lines
from jobs.log import shows_colours

GOOD, BAD, WARN, QUIET, RUNNING = "green", "bold red", "yellow", "dim", "cyan"
HEADING = "bold "
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_UNLIMITED_WIDTH, _LEAST_LAST_WIDTH = 10_000, 36


class NotWritable(CrewError):
    """A file or directory that the command line names cannot be written."""


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Explain an error of the file system: the user named this file or directory, so it is no bug."""
    try:
        yield
    except OSError as error:
        raise NotWritable(
            f"cannot write {error.filename or path}: {error.strerror}. "
            "Create its directory or change its permissions, or name another place."
        ) from None


class Cell(NamedTuple):
    """A cell of a table, with its colour on a terminal."""

    text: str
    style: str = ""


def say(sentence: str, style: str = "") -> None:
    """Print one line."""
    typer.echo(_styled(printable(redact(sentence)), style, sys.stdout))


def say_lines(text: str, style: str = "") -> None:
    """Print a text of several lines."""
    typer.echo(_styled(printable_lines(redact(text)), style, sys.stdout))


def say_to_stderr(sentence: str, style: str = "", *, end: str = "\n") -> None:
    """Print one line to stderr, where it does not mix with --json."""
    typer.echo(_styled(printable(redact(sentence)), style, sys.stderr) + end, err=True, nl=False)


def pass_on(line: bytes, stream: TextIO) -> None:
    """Write a line of another program's output: unchanged to a file or a pipe, and harmless to a terminal."""
    if stream.isatty():
        typer.echo(printable_lines(redact(without_colours(line))), file=stream, nl=False)
        return
    with suppress(BrokenPipeError):  # the program has to end what it does, whether anybody reads its output or not
        stream.buffer.write(line)
        stream.buffer.flush()


def without_colours(output: bytes) -> str:
    """Return a program's output as text without its colours."""
    return _COLOURS.sub("", output.decode(errors="replace"))


def _styled(sentence: str, style: str, stream: TextIO) -> str:
    if not shows_colours(stream):
        return sentence
    if style == QUIET:
        return typer.style(sentence, dim=True)
    return typer.style(sentence, fg=style.removeprefix("bold ") or None, bold=style.startswith("bold "))


def print_warnings(sentences: Iterable[str]) -> None:
    """Print warnings to stderr."""
    for sentence in sentences:
        say_to_stderr(f"Warning: {sentence}", WARN)


def table(rows: Iterable[Sequence[Cell | str]], header: Sequence[str] = (), indent: int = 0) -> None:
    """Print a table. On a terminal the last column wraps; columns without room get lines of their own below each row.

    Elsewhere each row is one line. Only the last column wraps, and only between words, so that IDs stay whole. Among
    longer rows, a row of one cell is a heading, which widens no column.
    """
    cells: list[Sequence[Cell]] = [[_harmless(cell) for cell in row] for row in rows]
    header = [_harmless(title).text for title in header]
    if not cells:
        return
    width = (get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED_WIDTH) - indent
    shown, titles, below = _fitted(cells, header, width)
    widths = [_width(at, shown, titles) for at in range(max(map(len, shown)))]
    heading: list[tuple[Sequence[Cell], str]] = [([Cell(title, QUIET) for title in titles], "")] if header else []
    for row, details in [*heading, *zip(shown, below, strict=True)]:
        lines = [*_row_lines(row, widths, width), *(f"    {line}" for line in _wrapped(details, width - 4))]
        typer.echo("\n".join(f"{' ' * indent}{line}".rstrip() for line in lines))


def _row_lines(row: Sequence[Cell], widths: Sequence[int], width: int) -> list[str]:
    """Return the lines of a row: more than one if its last cell wraps."""
    before = "".join(
        _styled(cell.text, cell.style, sys.stdout) + " " * (widths[at] + 2 - _cell_len(cell.text))
        for at, cell in enumerate(row[:-1])
    )
    taken = sum(widths[: len(row) - 1]) + 2 * (len(row) - 1)
    first, *more = _wrapped(row[-1].text, width - taken) or [""]
    styled = [_styled(line, row[-1].style, sys.stdout) for line in (first, *more)]
    return [before + styled[0], *(" " * taken + line for line in styled[1:])]


def _wrapped(text: str, width: int) -> list[str]:
    return (
        wrap(text, max(width, _LEAST_LAST_WIDTH), break_on_hyphens=False) if len(text) > width else [text][: len(text)]
    )


def _cell_len(text: str) -> int:
    """Return the columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _harmless(cell: Cell | str) -> Cell:
    text, style = cell if isinstance(cell, Cell) else (cell, "")
    return Cell(printable(redact(text)), style)


def _width(column: int, cells: Sequence[Sequence[Cell]], header: Sequence[str]) -> int:
    columns = max(map(len, cells))
    texts = [row[column].text for row in cells if column < len(row) and (columns == 1 or len(row) > 1)]
    return max(map(_cell_len, [*texts, *header[column : column + 1]]), default=0)


def _fitted(
    cells: Sequence[Sequence[Cell]], header: Sequence[str], width: int
) -> tuple[list[Sequence[Cell]], Sequence[str], list[str]]:
    """Move the last columns, which are of the least worth, below their rows until the others fit beside each other."""
    columns = max(map(len, cells))
    widths = [_width(at, cells, header) for at in range(columns)]
    for kept in range(columns, 1, -1):
        left = width - sum(widths[: kept - 1]) - 2 * (kept - 1)
        if widths[kept - 1] <= left or (kept == columns and left >= _LEAST_LAST_WIDTH):
            break
    else:
        kept = 1
    titles = [*header, *([""] * columns)]
    below = [
        "; ".join(
            f"{title} {cell.text}".strip() for title, cell in zip(titles[kept:], row[kept:], strict=False) if cell.text
        )
        for row in cells
    ]
    return [row[:kept] for row in cells], header[:kept], below


def print_json(document: dict[str, Any]) -> None:
    """Print the one object of --json, with secrets redacted."""
    import json

    # Each value is redacted by itself: in the whole text, a password such as 1 would match every number.
    redacted = {key: redact_all(value) for key, value in document.items()}
    text = json.dumps({"format": 1, **redacted}, ensure_ascii=False)
    # JSON escapes line breaks and ESC, but not all characters that a terminal obeys.
    typer.echo(text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))
