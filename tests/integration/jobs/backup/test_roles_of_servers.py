"""The databases of a server share one dump of its roles, until a role changes."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest

from jobs.backup.sets.encryption import decrypt
from jobs.backup.take import take
from jobs.backup.take.roles import DumpedRoles, KnownRoles, RolesVersion, read_roles_version
from tests.parts.crew import Repository
from tests.parts.needs import majors
from tests.parts.postgres import Database

New = Callable[..., Database]

CHANGES = (
    "CREATE ROLE shared_a",
    "ALTER ROLE shared_a CREATEDB",
    "COMMENT ON ROLE shared_a IS 'of a'",
    "ALTER ROLE shared_a SET work_mem = '5MB'",
    "ALTER ROLE shared_a RENAME TO shared_c",
    "CREATE ROLE shared_b",
    "GRANT shared_c TO shared_b",
    "GRANT shared_c TO shared_b WITH ADMIN OPTION",
    "REVOKE shared_c FROM shared_b",
    "DROP ROLE shared_b, shared_c",
)


@majors(13, 18)
@pytest.mark.parametrize("passwords", [True, False])
def test_each_change_of_roles_changes_their_version(database: New, major: int, passwords: bool) -> None:
    shop = database(major)
    changes = [*CHANGES]
    if passwords:
        changes.insert(1, "ALTER ROLE shared_a PASSWORD 'x'")
    if major >= 15:
        changes.insert(1, "GRANT SET ON PARAMETER log_min_messages TO shared_a")
        changes.insert(-1, "REVOKE SET ON PARAMETER log_min_messages FROM shared_c")
    shop.run("DROP ROLE IF EXISTS shared_reader", "CREATE ROLE shared_reader")
    with shop.connect() as reader:
        if not passwords:
            reader.execute("SET SESSION AUTHORIZATION shared_reader")
        before = read_roles_version(reader, "main", passwords=passwords)
        for change in changes:
            assert read_roles_version(reader, "main", passwords=passwords) == before
            shop.run(change)
            after = read_roles_version(reader, "main", passwords=passwords)
            assert after != before, change
            before = after
    shop.run("DROP ROLE shared_reader")


def test_the_roles_are_dumped_again_only_after_a_change(
    repository: Repository, database: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = database(16), database(16)
    dumped: list[DumpedRoles] = []

    class Watched(KnownRoles):
        def remember(self, version: RolesVersion, roles: DumpedRoles) -> None:
            dumped.append(roles)
            super().remember(version, roles)

    monkeypatch.setattr(take, "_KNOWN_ROLES", Watched())
    one.run("DROP ROLE IF EXISTS shared_d")
    server = f'[servers.main]\nurl = "{one.server.url()}"\npassword = {{ file = "{repository.password(one)}" }}\n'
    repository.environment(text=server)

    def stored_roles(database: Database) -> bytes:
        piece, roles = repository.folder(repository.backup(f"main.{database.name}")) / "roles.0", BytesIO()
        decrypt([piece.read_bytes()], roles, repository.identity)
        return roles.getvalue()

    first = stored_roles(one)
    assert stored_roles(other) == first == dumped[0].body
    assert b"CREATE ROLE postgres" in first
    assert len(dumped) == 1
    one.run("CREATE ROLE shared_d")
    assert b"CREATE ROLE shared_d" in stored_roles(other)
    assert len(dumped) == 2
    one.run("DROP ROLE shared_d")
    assert b"shared_d" not in stored_roles(one)
