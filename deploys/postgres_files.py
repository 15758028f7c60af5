"""The configuration files of a PostgreSQL server."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

# What each system's own packages have.
VERSIONS = {("debian", "12"): 15, ("debian", "13"): 17, ("ubuntu", "24.04"): 16}
HEAD = "# Written by groundcrew; changes made here are overwritten.\n"
CLUSTERS = f"""{HEAD}\
initdb_options = '--data-checksums --encoding=UTF8 --locale=C.UTF-8 --auth-host=scram-sha-256'
add_include_dir = 'conf.d'
ssl = on
cluster_name = '%v/%c'
log_line_prefix = '%%m [%%p] %%q%%u@%%d '
"""


def faults(clients: Sequence[str]) -> Iterator[str]:
    for client in clients:
        try:
            ipaddress.ip_network(client)
        except ValueError as error:
            yield f'postgres_clients: {error}; write a network, as in "10.0.0.0/8"'


def sized(memory: int) -> dict[str, str]:
    """Settings for a server that may take so many MiB."""
    connections = 100
    return {
        "max_connections": str(connections),
        "shared_buffers": f"{min(memory // 4, 16384)}MB",
        "effective_cache_size": f"{memory * 6 // 10}MB",
        "maintenance_work_mem": f"{max(64, min(memory // 20, 1024))}MB",
        "work_mem": f"{max(4, memory // 4 // connections)}MB",
        "checkpoint_timeout": "15min",
        "max_wal_size": "4GB",
        "wal_compression": "on",
        "random_page_cost": "1.1",
    }


def settings(memory: int, clients: Sequence[str], others: Mapping[str, object]) -> str:
    values: dict[str, object] = {
        **sized(memory),
        "listen_addresses": "*" if clients else "localhost",
        "password_encryption": "scram-sha-256",
        "log_min_duration_statement": "1s",
        "log_lock_waits": "on",
        "idle_in_transaction_session_timeout": "1h",
        **others,
    }
    return HEAD + "".join(f"{name} = {quoted(str(value))}\n" for name, value in sorted(values.items()))


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def access(clients: Sequence[str]) -> str:
    """pg_hba.conf: the system's postgres by who it is, everybody else by password, from afar only encrypted."""
    far = "".join(f"hostssl all all {client} scram-sha-256\n" for client in clients)
    return (
        f"{HEAD}local all postgres peer\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        f"host all all ::1/128 scram-sha-256\n{far}"
    )
