"""Names and texts as SQL wants them, for the statements that take no parameters."""

from __future__ import annotations

LONGEST_NAME = 63


def name(*parts: str) -> str:
    """An identifier, or several with dots between: "public"."orders"."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def text(value: str) -> str:
    """A literal, whatever standard_conforming_strings says."""
    escaped = value.replace("'", "''")
    return f" E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in value else f"'{escaped}'"


def clipped(stem: str, ending: str) -> str:
    """A name that PostgreSQL won't cut: the stem gives way, the ending stays."""
    room = LONGEST_NAME - len(ending.encode())
    return stem.encode()[:room].decode(errors="ignore") + ending
