"""Render exported files from the templates beside this module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class File:
    """A file's name and text."""

    name: str
    text: str


def made_by(target: str, environment: str) -> str:
    """Return the mark in the first line of each exported file, by which a later export finds files to remove."""
    return f"Made by: crew schedule export {target} {environment}"


def render(template: str, **values: Any) -> str:
    """Return the text of a template; a missing value is an error."""
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
