"""What a PostgreSQL server is told, and what its files say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deploys.lib import passwords
from deploys.lib.postgres import files
from deploys.lib.postgres.roles import Database, FoundDatabase, FoundRole, Role, faults, found, read, statements
from deploys.lib.preflight import DeployError

SHOP = Role("shop", "s3cret")
KEPT = FoundRole(passwords.verifier("s3cret"), True, False, False, frozenset())
BASE = Database("shop", "shop", frozenset({"backup"}))
STANDING = FoundDatabase("shop", frozenset({"shop", "backup"}))
RIGHTS = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


def test_a_verifier_fits_its_password_alone() -> None:
    kept = passwords.verifier("s3cret")
    assert kept != passwords.verifier("s3cret"), "each has a salt of its own"
    assert passwords.fits("s3cret", kept)
    assert not passwords.fits("secret", kept)
    assert not passwords.fits("s3cret", "md5abc")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (KEPT, []),
        (replace(KEPT, powers=True), [f'ALTER ROLE "shop" {RIGHTS}']),
        (replace(KEPT, login=False), [f'ALTER ROLE "shop" {RIGHTS}']),
    ],
)
def test_a_role_is_told_only_what_it_lacks(there: FoundRole, said: list[str]) -> None:
    assert statements([SHOP], [], {"shop": there}, {}) == said


def test_a_new_role_never_has_its_password_in_a_statement() -> None:
    backup = replace(SHOP, member_of=frozenset({"pg_read_all_data"}), past_row_security=True)
    made, password, grant = statements([backup], [], {}, {})
    assert made == 'CREATE ROLE "shop" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS'
    assert password.startswith('ALTER ROLE "shop" PASSWORD \'SCRAM-SHA-256$')
    assert "s3cret" not in password + repr(backup)
    assert grant == 'GRANT "pg_read_all_data" TO "shop"'


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (STANDING, []),
        (None, ['CREATE DATABASE "shop" OWNER "shop"', 'REVOKE ALL ON DATABASE "shop" FROM PUBLIC',
                'GRANT CONNECT ON DATABASE "shop" TO "backup"']),
        (FoundDatabase("eve", frozenset({"shop", "backup", "eve", "public"})),
         ['ALTER DATABASE "shop" OWNER TO "shop"', 'REVOKE ALL ON DATABASE "shop" FROM PUBLIC',
          'REVOKE ALL ON DATABASE "shop" FROM "eve"']),
    ],
)  # fmt: skip
def test_only_those_who_are_named_may_connect(there: FoundDatabase | None, said: list[str]) -> None:
    assert statements([], [BASE], {}, {"shop": there} if there else {}) == said


def test_group_data_becomes_roles_and_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P", "s3cret")
    ada: dict[str, Any] = {"name": "ada", "password": {"env": "P"}, "database": True}
    roles, databases = read([ada], [{"name": "shop", "owner": "ada"}], {"name": "backup", "password": {"env": "P"}})
    assert [role.name for role in roles] == ["ada", "backup"]
    assert roles[1].past_row_security
    assert databases == [Database("shop", "ada", frozenset({"backup"})), Database("ada", "ada", frozenset({"backup"}))]
    with pytest.raises(DeployError, match="password of eve: environment variable NOT_THERE is not set"):
        read([{"name": "eve", "password": {"env": "NOT_THERE"}}], [], {})
    assert found({}) == ({}, {})


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ({"name": "pg_x"}, "'pg_x' is no name to give"),
        ({"password": "literal"}, 'password: write {"env"'),
        ({"superuser": True}, "superuser: no such key"),
    ],
)
def test_a_slip_of_the_pen_is_told(role: dict[str, Any], said: str) -> None:
    (told,) = faults([{"name": "shop", "password": {"env": "P"}, **role}], [])
    assert said in told


def test_settings_fit_the_host() -> None:
    assert files.sized(32768)["shared_buffers"] == "8192MB"
    assert files.sized(256)["work_mem"] == "4MB"
    told = files.settings(1024, [], {"work_mem": "it's"})
    assert "listen_addresses = 'localhost'\n" in told
    assert "work_mem = 'it''s'\n" in told


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.5", "10.0.0.5/32"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("fd00::/8", "fd00::/8"),
        ("fd00::5", "fd00::5/128"),
    ],
)
def test_who_may_connect_is_written_as_postgresql_reads_it(client: str, said: str) -> None:
    assert list(files.faults([client])) == []
    access = files.access([client])
    assert access.endswith(f"\nhostssl all all {said} scram-sha-256\n")
    assert "trust" not in access


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ("10.0.0.5/24", "10.0.0.5/24 has host bits set"),
        ("fd00::5/8", "fd00::5/8 has host bits set"),
        ("fe80::1%eth0", "'fe80::1%eth0' is no network"),
        (10, "10 is no network"),
    ],
)
def test_a_network_that_is_none_is_told(client: object, said: str) -> None:
    assert list(files.faults([client])) == [
        f'postgres_clients: {said}; write a network, as in "10.0.0.0/8", or an address'
    ]
