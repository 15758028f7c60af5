"""What commands print to stdout: sentences and tables, with colours on a terminal, and JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import typer

from inventories import CrewError, redact, redact_all

GOOD, BAD, WARN, QUIET, RUNNING = "green", "bold red", "yellow", "dim", "cyan"
_UNLIMITED_WIDTH, _COLUMN_WIDTH = 10_000, 32


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
    sentence = redact(sentence)
    colour, bold = style.removeprefix("bold ") or None, style.startswith("bold ")
    typer.echo(typer.style(sentence, dim=True) if style == QUIET else typer.style(sentence, fg=colour, bold=bold))


def warn(sentences: Iterable[str]) -> None:
    """Print warnings to stderr, where they do not mix with --json."""
    for sentence in sentences:
        typer.echo(typer.style(f"Warning: {redact(sentence)}", fg=WARN), err=True)


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
        max_width = _COLUMN_WIDTH if on_terminal and at < columns - 1 else None
        drawn.add_column(header[at] if header else "", overflow="fold", max_width=max_width)
    for row in cells:
        drawn.add_row(*(Text(redact(cell.text), style=cell.style) for cell in row))
    console = Console(file=sys.stdout, width=None if on_terminal else _UNLIMITED_WIDTH, highlight=False)
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
