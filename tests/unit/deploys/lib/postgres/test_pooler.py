"""The files of the pooler and the exporter."""

from __future__ import annotations

from typing import Any

import pytest

from deploys.lib.postgres import exporter, pooler
from deploys.lib.postgres.exporter import Exporter
from deploys.lib.postgres.pooler import Pooler
from deploys.lib.postgres.roles import ExistingRole, change_statements

POOLER = Pooler.from_group_data({"clients": ["10.0.0.0/8"], "size": 5})


def test_the_pooler_listens_where_clients_are() -> None:
    text = pooler.pooler_config(POOLER, 5433, own_certificate=True)
    for line in (
        "* = host=/var/run/postgresql port=5433",
        "listen_addr = *",
        "listen_port = 6432",
        "pool_mode = transaction",
        "default_pool_size = 5",
        "max_client_conn = 1000",
        "client_tls_key_file = /etc/pgbouncer/groundcrew-tls.pem",
    ):
        assert line in text.splitlines()
    own = pooler.pooler_config(Pooler.from_group_data({"clients": []}), 5432, own_certificate=False)
    assert "listen_addr = 127.0.0.1, ::1" in own.splitlines()
    assert "client_tls_key_file = /etc/ssl/private/ssl-cert-snakeoil.key" in own.splitlines()


def test_other_hosts_need_tls_and_a_password() -> None:
    rules = [line.split() for line in pooler.access_text(["10.0.0.5"]).splitlines()[1:]]
    assert {rule[-1] for rule in rules} == {"scram-sha-256"}
    assert rules[-1][:4] == ["hostssl", "all", "all", "10.0.0.5/32"]
    assert [rule[0] for rule in rules] == ["local", "host", "host", "hostssl"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"clients": []}, []),
        (True, ['write {"clients": ["10.0.0.0/8"]}; [] allows connections from this host only']),
        ({"port": 1}, ['write {"clients": ["10.0.0.0/8"]}; [] allows connections from this host only']),
        ({"clients": [], "pool": 1}, ["no such key: pool; allowed: clients, connections, port, size"]),
        ({"clients": [], "size": "5"}, ["size: '5' is not a number from 1 to 65535"]),
        ({"clients": [], "size": 100}, ["size: the server accepts 100 connections; write less than that"]),
        (
            {"clients": ["10.0.0.1/8"]},
            ['clients: 10.0.0.1/8 has host bits set; write a network, such as "10.0.0.0/8", or an address'],
        ),
    ],
)
def test_each_mistake_of_the_pooler_is_a_fault(given: Any, expected: list[str]) -> None:
    assert list(pooler.faults(given, 100)) == [f"postgres_pooler: {fault}" for fault in expected]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"port": 9187, "address": "::"}, []),
        (True, ['write a dictionary, such as {"address": "127.0.0.1", "port": 9187}']),
        ({"listen": 1}, ["no such key: listen; allowed: address, port"]),
        (
            {"address": "*", "port": 0},
            [
                "address: '*' is not an address; \"0.0.0.0\" stands for all of IPv4",
                "port: 0 is not a number from 1 to 65535",
            ],
        ),
    ],
)
def test_each_mistake_of_the_exporter_is_a_fault(given: Any, expected: list[str]) -> None:
    assert list(exporter.faults(given)) == [f"postgres_exporter: {fault}" for fault in expected]


def test_the_exporter_logs_in_without_a_password() -> None:
    assert exporter.exporter_options(Exporter("::1", 9999), 5432).splitlines()[1:] == [
        "DATA_SOURCE_NAME='user=prometheus host=/run/postgresql port=5432 dbname=postgres'",
        'ARGS="--web.listen-address=[::1]:9999"',
    ]
    assert change_statements([exporter.ROLE], [], {}, {}) == [
        'CREATE ROLE "prometheus" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS',
        'GRANT "pg_monitor" TO "prometheus"',
    ]
    existing = ExistingRole("SCRAM-SHA-256$4096:x", True, False, False, frozenset({"pg_monitor"}))
    assert change_statements([exporter.ROLE], [], {"prometheus": existing}, {}) == [
        'ALTER ROLE "prometheus" PASSWORD NULL'
    ]
