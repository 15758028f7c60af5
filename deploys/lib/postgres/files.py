"""The texts of a PostgreSQL server's configuration files."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator, Mapping, Sequence

from deploys.lib.header import HEADER

# The major version in each system's packages.
VERSIONS = {("debian", "12"): 15, ("debian", "13"): 17, ("ubuntu", "24.04"): 16}
INITDB_OPTIONS = "--data-checksums --encoding=UTF8 --locale=C.UTF-8 --auth-host=scram-sha-256"
CLUSTERS = f"""{HEADER}\
create_main_cluster = false
initdb_options = '{INITDB_OPTIONS}'
add_include_dir = 'conf.d'
ssl = on
cluster_name = '%v/%c'
log_line_prefix = '%%m [%%p] %%q%%u@%%d '
"""

RULE_TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
CONNECTIONS = 100
SETTINGS = "conf.d/groundcrew.conf"
# Run as postgres. In a copy of the directory $1, the server program $3 reads the settings $2 as at start, and exits.
TRY_SETTINGS = f"""set -u; cd /; trial=$(mktemp --directory) || exit 1; trap 'rm --recursive "$trial"' EXIT
cp --recursive --dereference "$1/." "$trial" 2>/dev/null; cp "$2" "$trial/{SETTINGS}" || exit 1
output=$("$3" -C data_directory -c config_file="$trial/postgresql.conf" -c log_line_prefix= 2>&1) && exit
echo "postgres_settings: the server can't start with these, and keeps the settings it has; correct them:" >&2
echo "$output" | sed "s|$trial|$1|g" >&2; exit 1"""


def faults(clients: Sequence[object], rules: object) -> Iterator[str]:
    """Yield each fault in the group data."""
    if not isinstance(rules, list | tuple):
        yield "postgres_hba: write a list of lines of pg_hba.conf"
    else:
        yield from (fault for rule in rules if (fault := _rule_fault(rule)))
    for client in clients:
        try:
            network(client)
        except ValueError as error:
            yield f'postgres_clients: {error}; write a network, such as "10.0.0.0/8", or an address'


def _rule_fault(rule: object) -> str:
    """Return why a line can't be in pg_hba.conf; the server checks the rest before it reads the file."""
    first = rule.split()[:1] if isinstance(rule, str) and rule.isprintable() else []
    if first and first[0] in RULE_TYPES:
        return ""
    return (
        f'postgres_hba: {rule!r} is not a line of pg_hba.conf; write one such as "hostssl shop shop 10.0.0.5/32 cert"'
    )


def network(client: object) -> str:
    """Return a network with its prefix length; PostgreSQL does not start with an address alone."""
    if not isinstance(client, str) or "%" in client:
        raise ValueError(f"{client!r} is not a network")
    return str(ipaddress.ip_network(client))


def memory_settings(memory: int) -> dict[str, str]:
    """Return settings sized for a server that can use `memory` MiB."""
    return {
        "max_connections": str(CONNECTIONS),
        "shared_buffers": f"{min(memory // 4, 16384)}MB",
        "effective_cache_size": f"{memory * 6 // 10}MB",
        "maintenance_work_mem": f"{max(64, min(memory // 20, 1024))}MB",
        "work_mem": f"{max(4, memory // 4 // CONNECTIONS)}MB",
        "checkpoint_timeout": "15min",
        "max_wal_size": "4GB",
        "wal_compression": "on",
        "random_page_cost": "1.1",
    }


def postgres_settings(memory: int, clients: Sequence[str], others: Mapping[str, object]) -> str:
    """Return the text of the settings file; `others` override the defaults."""
    values: dict[str, object] = {
        **memory_settings(memory),
        "listen_addresses": "*" if clients else "localhost",
        "password_encryption": "scram-sha-256",
        "log_min_duration_statement": "1s",
        "log_lock_waits": "on",
        "idle_in_transaction_session_timeout": "1h",
        **others,
    }
    return HEADER + "".join(f"{name} = {quote_value(str(value))}\n" for name, value in sorted(values.items()))


def quote_value(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def settings_check_command(version: int, folder: str) -> str:
    """Return the command that checks new settings with the server's own program, then saves the current ones."""
    program, current = f"/usr/lib/postgresql/{version}/bin/postgres", f"{folder}/{SETTINGS}"
    read = f"runuser --user postgres -- sh -c {shlex.quote(TRY_SETTINGS)} trial {folder}"
    return f"{read} {{}} {program} && if [ -e {current} ]; then cp --archive {current} {previous_file(current)}; fi"


def previous_file(path: str) -> str:
    """Return the file with the previous settings or rules. PostgreSQL reads no file of this name."""
    return f"{path}.previous"


def keep_previous_command(path: str) -> str:
    """Return the command that copies a file before a new one replaces it."""
    return f"{{{{ [ ! -e {path} ] || cp --archive {path} {previous_file(path)}; }}}}"


def pg_hba(clients: Sequence[str], rules: Sequence[str] = (), services: Sequence[str] = ()) -> str:
    """Return pg_hba.conf: peer login for postgres and for services, then `rules`, as the first match counts.

    All others log in with passwords, and remote clients need TLS.
    """
    own = "".join(f"{rule}\n" for rule in (*services, *rules))
    remote = "".join(f"hostssl all all {network(client)} scram-sha-256\n" for client in clients)
    return (
        f"{HEADER}local all postgres peer\n{own}local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        f"host all all ::1/128 scram-sha-256\n{remote}"
    )
