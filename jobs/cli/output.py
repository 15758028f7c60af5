"""What a person sees on stdout: sentences and tables, coloured on a terminal and plain elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import typer

from inventories import redact

GOOD, BAD, WARN, QUIET, RUNNING = "green", "bold red", "yellow", "dim", "cyan"
_WIDE, _NARROW = 10_000, 32


class Cell(NamedTuple):
    """A piece of a table's row, with the colour it has on a terminal."""

    text: str
    style: str = ""


def say(sentence: str, style: str = "") -> None:
    """Print one line."""
    sentence = redact(sentence)
    colour, bold = style.removeprefix("bold ") or None, style.startswith("bold ")
    typer.echo(typer.style(sentence, dim=True) if style == QUIET else typer.style(sentence, fg=colour, bold=bold))


def table(rows: Iterable[Sequence[Cell | str]], header: Sequence[str] = (), indent: int = 0) -> None:
    """Print rows under each other in columns; on a terminal the last column wraps, elsewhere a row is a line."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    person = sys.stdout.isatty()
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(header), header_style=QUIET)
    cells = [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    columns = max(map(len, cells), default=0)
    for at in range(columns):
        drawn.add_column(
            header[at] if header else "", overflow="fold", max_width=_NARROW if person and at < columns - 1 else None
        )
    for row in cells:
        drawn.add_row(*(Text(redact(cell.text), style=cell.style) for cell in row))
    console = Console(file=sys.stdout, width=None if person else _WIDE, highlight=False)
    with console.capture() as text:
        console.print(Padding(drawn, (0, 0, 0, indent), expand=False))
    typer.echo("\n".join(line.rstrip() for line in text.get().splitlines()))
