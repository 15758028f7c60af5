"""What commands print: sentences, tables and JSON. On a terminal they have colours.

All output of commands goes through this module. It redacts secrets and escapes control characters, since text from
outside (names, tags, messages) can contain them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import typer

from inventories import CrewError, redact, redact_all
from inventories.printable import printable, printable_lines
from jobs.log import shows_colours

GOOD, BAD, WARN, QUIET, RUNNING = "green", "bold red", "yellow", "dim", "cyan"
_UNLIMITED_WIDTH, _COLUMN_WIDTH = 10_000, 32
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]+")
"""The ID of a run or a backup set: users copy it, so it never wraps."""


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
    """Print a table. On a terminal long cells wrap; elsewhere each row is one line."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    on_terminal = sys.stdout.isatty()
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(header), header_style=QUIET)
    cells = [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    columns = max(map(len, cells), default=0)
    for at in range(columns):
        is_id = all(_ID.fullmatch(row[at].text) for row in cells if at < len(row))
        max_width = _COLUMN_WIDTH if on_terminal and at < columns - 1 else None
        title = Text(printable(header[at]) if header else "")  # a Text, because rich reads markup in a str
        drawn.add_column(title, overflow="fold", max_width=max_width, no_wrap=is_id)
    for row in cells:
        drawn.add_row(*(Text(printable(redact(cell.text)), style=cell.style) for cell in row))
    console = Console(file=sys.stdout, width=None if on_terminal else _UNLIMITED_WIDTH, highlight=False)
    if not shows_colours(sys.stdout):
        console = Console(file=sys.stdout, width=console.width, highlight=False, color_system=None)
    with console.capture() as text:
        console.print(Padding(drawn, (0, 0, 0, indent), expand=False))
    typer.echo("\n".join(line.rstrip() for line in text.get().splitlines()))


def print_json(document: dict[str, Any]) -> None:
    """Print the one object of --json, with secrets redacted."""
    import json

    # Each value is redacted by itself: in the whole text, a password such as 1 would match every number.
    redacted = {key: redact_all(value) for key, value in document.items()}
    text = json.dumps({"format": 1, **redacted}, ensure_ascii=False)
    # JSON escapes line breaks and ESC, but not all characters that a terminal obeys.
    typer.echo(text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text))
