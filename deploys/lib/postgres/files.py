"""The configuration files of a PostgreSQL server."""

from __future__ import annotations

import ipaddress
import shlex
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

SETTINGS = "conf.d/groundcrew.conf"
# As postgres, in a copy of the folder $1, with the settings $2: the server $3 reads it all as at its start, and ends.
TRIAL = f"""set -u; cd /; trial=$(mktemp --directory) || exit 1; trap 'rm --recursive "$trial"' EXIT
cp --recursive --dereference "$1/." "$trial" 2>/dev/null; cp "$2" "$trial/{SETTINGS}" || exit 1
said=$("$3" -C data_directory -c config_file="$trial/postgresql.conf" -c log_line_prefix= 2>&1) && exit
echo "postgres_settings: the server would not start with these, and goes on with those it has:" >&2
echo "$said" | sed "s|$trial|$1|g" >&2; exit 1"""


def faults(clients: Sequence[object]) -> Iterator[str]:
    for client in clients:
        try:
            network(client)
        except ValueError as error:
            yield f'postgres_clients: {error}; write a network, as in "10.0.0.0/8", or an address'


def network(client: object) -> str:
    """A network as PostgreSQL reads it: an address alone it would take for half of what it wants, and not start."""
    if not isinstance(client, str) or "%" in client:
        raise ValueError(f"{client!r} is no network")
    return str(ipaddress.ip_network(client))


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


def check(version: int, folder: str) -> str:
    """What is done before settings go live: the server's own program reads them; then those of before are kept."""
    program, live = f"/usr/lib/postgresql/{version}/bin/postgres", f"{folder}/{SETTINGS}"
    read = f"runuser --user postgres -- sh -c {shlex.quote(TRIAL)} trial {folder}"
    return f"{read} {{}} {program} && if [ -e {live} ]; then cp --archive {live} {before(live)}; fi"


def before(settings: str) -> str:
    """Where the settings are kept that were live before: PostgreSQL reads only what ends in .conf."""
    return f"{settings}.before"


def access(clients: Sequence[str]) -> str:
    """pg_hba.conf: the system's postgres by who it is, everybody else by password, from afar only encrypted."""
    far = "".join(f"hostssl all all {network(client)} scram-sha-256\n" for client in clients)
    return (
        f"{HEAD}local all postgres peer\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        f"host all all ::1/128 scram-sha-256\n{far}"
    )
