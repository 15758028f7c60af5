"""The roles of a server are dumped once for all its databases, as long as they do not change."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.backup.take.definitions import Chunks

if TYPE_CHECKING:
    import psycopg

_MAX_BYTES = 1 << 20
_FIRST_WITH_PARAMETER_PRIVILEGES = 150000

# A change writes a new version of a row, by another transaction. A backup role that cannot read pg_authid dumps no
# passwords, so the view has everything that it dumps.
_DIGEST = "SELECT pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat({}), 'UTF8'))"
_ROWS = "(SELECT pg_catalog.string_agg(pg_catalog.concat(ctid, ' ', xmin), ',' ORDER BY ctid) FROM pg_catalog.{})"
_VISIBLE_ROLES = "(SELECT pg_catalog.string_agg(r::pg_catalog.text, ',' ORDER BY oid) FROM pg_catalog.pg_roles r)"
_TABLES = ("pg_auth_members", "pg_db_role_setting", "pg_shdescription", "pg_shseclabel")


@dataclass(frozen=True, slots=True)
class RolesVersion:
    """A server, and what changes with each change of its roles."""

    server: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class DumpedRoles:
    """What pg_dumpall wrote about the roles of a server, and its warnings."""

    body: bytes
    warnings: tuple[str, ...]


class KnownRoles:
    """The roles of servers that this process has dumped, the newest version of each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[RolesVersion, DumpedRoles]] = {}

    def find(self, version: RolesVersion) -> DumpedRoles | None:
        """Return the roles; None if they were not dumped, or have changed since."""
        with self._lock:
            known, roles = self._known.get(version.server, (None, None))
        return roles if known == version else None

    def remember(self, version: RolesVersion, roles: DumpedRoles) -> None:
        """Keep roles that were dumped after their version was read, unless they are many."""
        if len(roles.body) <= _MAX_BYTES:
            with self._lock:
                self._known[version.server] = version, roles


class ChunksCopy:
    """A copy of all chunks that pass, or of the first ones if they are many."""

    def __init__(self) -> None:
        self.body = bytearray()

    def copied_from(self, chunks: Chunks) -> Chunks:
        """Yield the chunks."""
        for chunk in chunks:
            if len(self.body) <= _MAX_BYTES:
                self.body += chunk
            yield chunk


def read_roles_version(connection: psycopg.Connection[Any], server: str, *, passwords: bool) -> RolesVersion:
    """Return the version of all that pg_dumpall dumps of roles: memberships, settings, comments and privileges, too."""
    tables = [*_TABLES]
    if passwords:
        tables.append("pg_authid")
    if connection.info.server_version >= _FIRST_WITH_PARAMETER_PRIVILEGES:
        tables.append("pg_parameter_acl")
    facts = [_ROWS.format(table) for table in tables] + ([] if passwords else [_VISIBLE_ROLES])
    [digest] = connection.execute(_DIGEST.format(", '|', ".join(facts)).encode()).fetchone() or (b"",)
    return RolesVersion(server, bytes(digest))
