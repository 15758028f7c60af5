"""Quoting of names and texts for SQL statements that take no parameters."""

from __future__ import annotations

MAX_NAME_BYTES = 63


def identifier(*parts: str) -> str:
    """Return a quoted identifier; several parts are joined with dots: "public"."orders"."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def literal(value: str) -> str:
    """Return a quoted string that is right for either value of standard_conforming_strings."""
    escaped = value.replace("'", "''")
    return f" E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in value else f"'{escaped}'"


def conninfo_value(value: str) -> str:
    """Return a value for a connection string, quoted."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def clip_name(stem: str, ending: str) -> str:
    """Return stem and ending as a name of at most 63 bytes, PostgreSQL's limit: only the stem is cut."""
    available = MAX_NAME_BYTES - len(ending.encode())
    return stem.encode()[:available].decode(errors="ignore") + ending
