"""Render evidence as HTML: one self-contained page, made to be printed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from inventories import redact
from inventories.printable import printable_lines
from jobs.format import format_duration, format_size


def evidence_page(document: dict[str, Any], now: datetime) -> str:
    """Return the page of an evidence document."""
    templates = Environment(
        loader=PackageLoader("jobs.status"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    templates.globals.update(size=format_size, duration=_duration)
    page = templates.get_template("evidence.html.j2").render(evidence=document, now=now)
    return printable_lines(redact(page))


def _duration(seconds: float | None) -> str:
    """Return a duration in words, to a tenth of a second if it is short."""
    if seconds is None:
        return "none"
    return f"{seconds:g} s" if seconds < 60 else format_duration(timedelta(seconds=seconds))
