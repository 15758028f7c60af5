"""Which SQL statements give a PostgreSQL server the roles and databases in group data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.lib import passwords
from deploys.lib.postgres.roles import (
    DesiredDatabase,
    DesiredRole,
    ExistingDatabase,
    ExistingRole,
    change_statements,
    desired_state,
    faults,
    parse_existing,
)
from deploys.lib.preflight import DeployError

SHOP = DesiredRole("shop", "s3cret")
SHOP_ROLE = ExistingRole(passwords.scram_verifier("s3cret"), True, False, False, frozenset())
SHOP_DATABASE = DesiredDatabase("shop", "shop", frozenset({"backup"}))
EXISTING = ExistingDatabase("shop", frozenset({"shop", "backup"}))
ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (SHOP_ROLE, []),
        (replace(SHOP_ROLE, privileged=True), [f'ALTER ROLE "shop" {ATTRIBUTES}']),
        (replace(SHOP_ROLE, login=False), [f'ALTER ROLE "shop" {ATTRIBUTES}']),
    ],
)
def test_a_role_gets_only_the_statements_that_it_needs(existing: ExistingRole, expected: list[str]) -> None:
    assert change_statements([SHOP], [], {"shop": existing}, {}) == expected


def test_no_statement_contains_a_password() -> None:
    backup = replace(SHOP, member_of=frozenset({"pg_read_all_data"}), bypasses_rls=True)
    create, password, grant = change_statements([backup], [], {}, {})
    assert create == 'CREATE ROLE "shop" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS'
    assert password.startswith('ALTER ROLE "shop" PASSWORD \'SCRAM-SHA-256$')
    assert "s3cret" not in password + repr(backup)
    assert grant == 'GRANT "pg_read_all_data" TO "shop"'


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (EXISTING, []),
        (None, ['CREATE DATABASE "shop" OWNER "shop"', 'REVOKE ALL ON DATABASE "shop" FROM PUBLIC',
                'GRANT CONNECT ON DATABASE "shop" TO "backup"']),
        (ExistingDatabase("eve", frozenset({"shop", "backup", "eve", "public"})),
         ['ALTER DATABASE "shop" OWNER TO "shop"', 'REVOKE ALL ON DATABASE "shop" FROM PUBLIC',
          'REVOKE ALL ON DATABASE "shop" FROM "eve"']),
    ],
)  # fmt: skip
def test_only_the_owner_and_the_readers_can_connect(existing: ExistingDatabase | None, expected: list[str]) -> None:
    assert change_statements([], [SHOP_DATABASE], {}, {"shop": existing} if existing else {}) == expected


def test_group_data_becomes_roles_and_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P", "s3cret")
    ada: dict[str, Any] = {"name": "ada", "password": {"env": "P"}, "database": True}
    backup = {"name": "backup", "password": {"env": "P"}}
    roles, databases = desired_state([ada], [{"name": "shop", "owner": "ada"}], backup)
    assert [role.name for role in roles] == ["ada", "backup"]
    assert roles[1].bypasses_rls
    assert databases == [
        DesiredDatabase("shop", "ada", frozenset({"backup"})),
        DesiredDatabase("ada", "ada", frozenset({"backup"})),
    ]
    (reports,), _ = desired_state([{"name": "reports", "password": {"env": "P"}, "read_only": True}], [], {})
    assert (reports.member_of, reports.bypasses_rls) == (frozenset({"pg_read_all_data"}), False)
    assert list(faults([{**ada, "read_only": True}], [])) == [
        "postgres_roles: ada: a role that owns a database can write to it; remove read_only or database"
    ]
    with pytest.raises(DeployError, match="password of eve: environment variable NOT_THERE is not set"):
        desired_state([{"name": "eve", "password": {"env": "NOT_THERE"}}], [], {})


def test_an_empty_answer_has_no_roles_and_databases() -> None:
    assert parse_existing({}) == ({}, {})


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ({"name": "pg_x"}, "'pg_x' is not allowed"),
        ({"password": "literal"}, 'password: write {"env"'),
        ({"superuser": True}, "no such key: superuser"),
    ],
)
def test_each_mistake_in_group_data_is_a_fault(role: dict[str, Any], expected: str) -> None:
    [fault] = faults([{"name": "shop", "password": {"env": "P"}, **role}], [])
    assert expected in fault
