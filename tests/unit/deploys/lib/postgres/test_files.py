"""The configuration files of a PostgreSQL server."""

from __future__ import annotations

import pytest

from deploys.lib.postgres import files


def test_settings_are_sized_to_the_host() -> None:
    assert files.memory_settings(32768)["shared_buffers"] == "8192MB"
    assert files.memory_settings(256)["work_mem"] == "4MB"
    text = files.postgres_settings(1024, [], {"work_mem": "it's"})
    assert "listen_addresses = 'localhost'\n" in text
    assert "work_mem = 'it''s'\n" in text


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.5", "10.0.0.5/32"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("fd00::/8", "fd00::/8"),
        ("fd00::5", "fd00::5/128"),
    ],
)
def test_clients_are_written_as_postgresql_reads_them(client: str, expected: str) -> None:
    assert list(files.faults([client], [])) == []
    rules = files.pg_hba([client])
    assert rules.endswith(f"\nhostssl all all {expected} scram-sha-256\n")
    assert "trust" not in rules


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("10.0.0.5/24", "10.0.0.5/24 has host bits set"),
        ("fd00::5/8", "fd00::5/8 has host bits set"),
        ("fe80::1%eth0", "'fe80::1%eth0' is not a network"),
        (10, "10 is not a network"),
    ],
)
def test_an_invalid_network_is_a_fault(client: object, expected: str) -> None:
    assert list(files.faults([client], [])) == [
        f'postgres_clients: {expected}; write a network, such as "10.0.0.0/8", or an address'
    ]


def test_own_access_rules_come_before_those_for_everyone() -> None:
    rules = files.pg_hba(["10.0.0.0/8"], ["hostssl shop shop 10.0.0.5/32 cert"]).splitlines()
    assert rules.index("local all postgres peer") < rules.index("hostssl shop shop 10.0.0.5/32 cert")
    assert rules.index("hostssl shop shop 10.0.0.5/32 cert") < rules.index("local all all scram-sha-256")


@pytest.mark.parametrize("rule", ["trust everyone", "", 5, "host all all all trust\nlocal all all trust"])
def test_a_line_that_is_no_access_rule_is_a_fault(rule: object) -> None:
    (fault,) = files.faults([], [rule])
    assert fault.startswith(f"postgres_hba: {rule!r} is not a line of pg_hba.conf; write one such as ")


def test_access_rules_are_a_list() -> None:
    assert list(files.faults([], "local all all peer")) == ["postgres_hba: write a list of lines of pg_hba.conf"]
