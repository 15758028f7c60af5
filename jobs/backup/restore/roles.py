"""The roles of a set: which of its statements a server that has some of these roles already may be given."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

_NAME = r'("(?:[^"]|"")*"|[^\s;,]+)'
_OF_A_ROLE = re.compile(rf"\s*(CREATE ROLE|ALTER ROLE|COMMENT ON ROLE|SECURITY LABEL FOR \S+ ON ROLE) {_NAME}")
_GRANT = re.compile(rf"\s*(GRANT) {_NAME} TO {_NAME}")
_GRANTED_BY = re.compile(rf" GRANTED BY {_NAME};\s*$")
_PIECES = re.compile(
    r"""'(?:[^'\\]|''|\\.)*'|"(?:[^"]|"")*"|--[^\n]*|^\\[^\n]*|;|[^'"\-;\n]+|.""", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement about one role. Its text may hold a password's hash: it is never shown."""

    verb: str
    role: str
    granted: str | None
    text: str

    def __repr__(self) -> str:
        return f"<{self.verb} {self.role}>"


def statements(script: str) -> tuple[Statement, ...]:
    """What pg_dumpall --roles-only wrote, taken apart; settings of the session and psql's own commands are left out."""
    return tuple(found for text in _split(script) if (found := _statement(text)) is not None)


def for_missing(script: str, existing: Collection[str]) -> tuple[Statement, ...]:
    """What makes the roles that are missing, and their memberships; roles that exist are left as they are."""
    found = statements(script)
    missing = {one.role for one in found if one.verb == "CREATE ROLE"} - set(existing)
    return tuple(one for one in found if one.role in missing)


def bare(found: Sequence[Statement]) -> tuple[Statement, ...]:
    """The names alone: roles that own nothing yet, can't log in, and have no password."""
    return tuple(one for one in found if one.verb == "CREATE ROLE")


def _split(script: str) -> Iterator[str]:
    """Statements end at a semicolon that stands in no quotes; remarks and psql's own commands fall out."""
    current = ""
    for piece in _PIECES.findall(script):
        if piece.startswith(("--", "\\")):
            continue
        current += piece
        if piece == ";":
            yield current.strip()
            current = ""


def _statement(text: str) -> Statement | None:
    if membership := _GRANT.match(text):
        verb, granted, member = membership.groups()
        return Statement(verb, _unquoted(member), _unquoted(granted), _GRANTED_BY.sub(";", text))
    if about := _OF_A_ROLE.match(text):
        verb, role = about.groups()
        return Statement(verb, _unquoted(role), None, text)
    return None


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
