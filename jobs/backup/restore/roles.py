"""Parse the roles of a backup set and choose what a server that has some of them needs."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jobs.backup.errors import UnreadableSet

_NAME = r'("(?:[^"]|"")*"|[^\s;,]+)'
_ABOUT_ROLE = re.compile(rf"\s*(CREATE ROLE|ALTER ROLE|COMMENT ON ROLE|SECURITY LABEL FOR \S+ ON ROLE) {_NAME}")
_GRANT = re.compile(rf"\s*(GRANT) {_NAME} TO {_NAME}")
_GRANTED_BY = re.compile(rf" GRANTED BY {_NAME};\s*$")
# Anchored: the settings of a role, which it can choose itself, are an ALTER ROLE, too.
_ATTRIBUTES = re.compile(rf"\s*ALTER ROLE {_NAME} WITH ((?:[A-Z]+[ ;])+)")
# A doubled quote ends one lexeme and begins the next one. pg_dumpall writes no other backslash outside quotes than that
# of psql's commands.
_LEXEMES = re.compile(r"""'[^']*'|"[^"]*"|--[^\n]*|\\[^\n]*|;|[^'"\\\-;\n]+|.""", re.DOTALL)
_LONGEST_SCRIPT = 64 << 20  # bytes of its statements
LONGEST_STATEMENT = 64 << 10  # any role can give itself a setting of a gigabyte


@dataclass(frozen=True, slots=True)
class RoleStatement:
    """One statement about one role. Its text can contain the hash of a password, so `repr` does not show it.

    The text of one that is too long is "". Bytes that are not UTF-8 are surrogates in it: a database with another
    encoding can write them where all databases of the server read them.
    """

    verb: str
    role: str
    granted: str | None
    text: str

    def __repr__(self) -> str:
        return f"<{self.verb} {self.role}>"


class RolesScript:
    """A sink for the output of pg_dumpall --roles-only: it takes the statements about roles from it."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._unread, self._current, self._is_long = "", "", False
        self._found: list[RoleStatement] = []
        self._size = 0

    def write(self, body: bytes) -> None:
        self._unread += self._decoder.decode(body)
        self._split(at_end=False)
        if len(self._unread) > LONGEST_STATEMENT:  # of a text, comment or command without end, only the kind counts
            is_text = self._unread[0] in "'\""
            self._is_long, self._unread = self._is_long or is_text, self._unread[: 1 if is_text else 2]

    def statements(self) -> tuple[RoleStatement, ...]:
        """Return the statements, without what the script says about its own session, and without psql commands."""
        self._split(at_end=True)
        return tuple(self._found)

    def _split(self, *, at_end: bool) -> None:
        """Divide what was written at semicolons outside quotes. What a later write can continue stays unread."""
        end = 0
        for lexeme in _LEXEMES.finditer(self._unread):
            goes_on = lexeme.end() == len(self._unread) and lexeme[0][0] in "-\\"
            if not at_end and (goes_on or lexeme[0] in ("'", '"')):
                break
            end = lexeme.end()
            if not lexeme[0].startswith(("--", "\\")):
                self._add(lexeme[0])
        self._unread = self._unread[end:]

    def _add(self, lexeme: str) -> None:
        self._is_long = self._is_long or len(self._current) + len(lexeme) > LONGEST_STATEMENT
        if not self._is_long:
            self._current += lexeme
        if lexeme == ";":
            statement = _parse(self._current.strip(), is_long=self._is_long)
            if statement is not None:
                self._found.append(statement)
                self._size += len(statement.text)
            if self._size > _LONGEST_SCRIPT:
                raise UnreadableSet(f"its roles take more than {_LONGEST_SCRIPT >> 20} MiB")
            self._current, self._is_long = "", False


def parse_roles(script: str) -> tuple[RoleStatement, ...]:
    """Parse the output of pg_dumpall --roles-only."""
    parsed = RolesScript()
    parsed.write(script.encode())
    return parsed.statements()


def missing_roles(statements: Sequence[RoleStatement], existing: Collection[str]) -> tuple[RoleStatement, ...]:
    """Return the statements that create the missing roles and grant their memberships."""
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


def _parse(text: str, *, is_long: bool) -> RoleStatement | None:
    whole = "" if is_long else text
    if grant := _GRANT.match(text):
        verb, granted, member = grant.groups()
        return RoleStatement(verb, _unquoted(member), _unquoted(granted), _GRANTED_BY.sub(";", whole))
    if about := _ABOUT_ROLE.match(text):
        verb, role = about.groups()
        return RoleStatement(verb, _unquoted(role), None, whole)
    return None


def _unquoted(name: str) -> str:
    """Return the name, with question marks for bytes that are not UTF-8: no statement and no document can have them."""
    name = name[1:-1].replace('""', '"') if name.startswith('"') else name
    return name.encode(errors="replace").decode()
