"""Files that are made from templates beside this module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class File:
    """A file's name and its text."""

    name: str
    text: str


def render(template: str, **values: Any) -> str:
    """A template's text with these values; one that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from jobs.schedule.due import describe_line

    templates = Environment(
        loader=PackageLoader("jobs.schedule.export"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - these are unit files and manifests, and no part of them comes from strangers
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["words"] = describe_line
    return templates.get_template(template).render(**values)
