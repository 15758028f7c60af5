"""Parse the roles of a backup set and choose what a server that has some of them needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

_NAME = r'("(?:[^"]|"")*"|[^\s;,]+)'
_ABOUT_ROLE = re.compile(rf"\s*(CREATE ROLE|ALTER ROLE|COMMENT ON ROLE|SECURITY LABEL FOR \S+ ON ROLE) {_NAME}")
_GRANT = re.compile(rf"\s*(GRANT) {_NAME} TO {_NAME}")
_GRANTED_BY = re.compile(rf" GRANTED BY {_NAME};\s*$")
# Anchored: the settings of a role, which it can choose itself, are an ALTER ROLE, too.
_ATTRIBUTES = re.compile(rf"\s*ALTER ROLE {_NAME} WITH ((?:[A-Z]+[ ;])+)")
_LEXEMES = re.compile(
    r"""'(?:[^'\\]|''|\\.)*'|"(?:[^"]|"")*"|--[^\n]*|^\\[^\n]*|;|[^'"\-;\n]+|.""", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class RoleStatement:
    """One statement about one role. Its text can contain the hash of a password, so `repr` does not show it."""

    verb: str
    role: str
    granted: str | None
    text: str

    def __repr__(self) -> str:
        return f"<{self.verb} {self.role}>"


def parse_roles(script: str) -> tuple[RoleStatement, ...]:
    """Parse the output of pg_dumpall --roles-only, without what it says about its own session and psql commands."""
    return tuple(statement for text in _split(script) if (statement := _parse(text)) is not None)


def missing_roles(script: str, existing: Collection[str]) -> tuple[RoleStatement, ...]:
    """Return the statements that create the missing roles and grant their memberships."""
    statements = parse_roles(script)
    missing = {statement.role for statement in statements if statement.verb == "CREATE ROLE"} - set(existing)
    return tuple(statement for statement in statements if statement.role in missing)


def makes_superuser(statements: Sequence[RoleStatement], role: str) -> bool:
    """Whether the statements make the role a superuser."""
    return "SUPERUSER" in _attributes(statements, role)


def makes_ordinary(statements: Sequence[RoleStatement], role: str) -> bool:
    """Whether the statements make the role one without the rights of a superuser."""
    return "NOSUPERUSER" in _attributes(statements, role)


def _attributes(statements: Sequence[RoleStatement], role: str) -> set[str]:
    found = (_ATTRIBUTES.match(each.text) for each in statements if each.role == role)
    return {word for match in found if match for word in re.split("[ ;]", match[2])}


def names_only(statements: Sequence[RoleStatement]) -> tuple[RoleStatement, ...]:
    """Keep only CREATE ROLE: roles without a password that cannot log in."""
    return tuple(statement for statement in statements if statement.verb == "CREATE ROLE")


def _split(script: str) -> Iterator[str]:
    """Yield the statements, split at semicolons outside quotes, without comments and psql commands."""
    current = ""
    for lexeme in _LEXEMES.findall(script):
        if lexeme.startswith(("--", "\\")):
            continue
        current += lexeme
        if lexeme == ";":
            yield current.strip()
            current = ""


def _parse(text: str) -> RoleStatement | None:
    if grant := _GRANT.match(text):
        verb, granted, member = grant.groups()
        return RoleStatement(verb, _unquoted(member), _unquoted(granted), _GRANTED_BY.sub(";", text))
    if about := _ABOUT_ROLE.match(text):
        verb, role = about.groups()
        return RoleStatement(verb, _unquoted(role), None, text)
    return None


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
