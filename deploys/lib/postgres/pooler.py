"""pgbouncer in front of a PostgreSQL server: many connections of clients share few of the server.

It runs as a user of its own, and logs in to the server as the client does, with the SCRAM secret of the role: it knows
no password.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra.api import FunctionCommand, Host, State

from deploys.lib import operations
from deploys.lib.facts import HostFacts, command_output, file_contents, operation_with_facts
from deploys.lib.group_data import unknown_keys
from deploys.lib.header import HEADER, SENTENCE
from deploys.lib.messages import log_message
from deploys.lib.operations import Steps, run_silently
from deploys.lib.postgres.files import network
from deploys.lib.postgres.server import PSQL
from deploys.lib.postgres.tls import Tls

PACKAGE = UNIT_NAME = "pgbouncer"
UNIT = f"{UNIT_NAME}.service"
USER = "pgbouncer"  # the package would run it as postgres, which is the superuser of every database
FOLDER = "/etc/pgbouncer"
CONFIG, ACCESS, USERS = f"{FOLDER}/pgbouncer.ini", f"{FOLDER}/groundcrew-hba.conf", f"{FOLDER}/userlist.txt"
CERTIFICATE = f"{FOLDER}/groundcrew-tls.pem"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/groundcrew.conf"
NUMBERS = {"port": 6432, "size": 20, "connections": 1000}
OURS = f"grep --quiet --fixed-strings {shlex.quote(SENTENCE)} {CONFIG} && echo ours"
USER_EXISTS = f"id {USER}"
DEFAULT_CERTIFICATE = ("/etc/ssl/certs/ssl-cert-snakeoil.pem", "/etc/ssl/private/ssl-cert-snakeoil.key")


@dataclass(frozen=True)
class Pooler:
    """The pooler of a server."""

    port: int
    size: int  # connections to the server for each database and role
    connections: int  # of clients
    clients: tuple[str, ...]

    @classmethod
    def from_group_data(cls, given: Mapping[str, Any]) -> Pooler:
        """Return the pooler; `faults` found none."""
        return cls(**{key: given.get(key, value) for key, value in NUMBERS.items()}, clients=tuple(given["clients"]))


def faults(given: Any, server_connections: int) -> Iterator[str]:
    """Yield each fault in `postgres_pooler`; the server accepts this many connections."""
    if not isinstance(given, Mapping) or not isinstance(given.get("clients"), list | tuple):
        yield 'postgres_pooler: write {"clients": ["10.0.0.0/8"]}; [] allows connections from this host only'
        return
    yield from unknown_keys("postgres_pooler", given, {*NUMBERS, "clients"})
    for key in NUMBERS:
        value = given.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
            yield f"postgres_pooler: {key}: {value!r} is not a number from 1 to 65535"
        elif key == "size" and value >= server_connections:
            yield f"postgres_pooler: size: the server accepts {server_connections} connections; write less than that"
    for client in given["clients"]:
        try:
            network(client)
        except ValueError as error:
            yield f'postgres_pooler: clients: {error}; write a network, such as "10.0.0.0/8", or an address'


def pooler_config(pooler: Pooler, server_port: int, *, own_certificate: bool) -> str:
    """Return the configuration file. Each transaction can use another connection to the server."""
    certificate, key = (CERTIFICATE, CERTIFICATE) if own_certificate else DEFAULT_CERTIFICATE
    values = {
        "listen_addr": "*" if pooler.clients else "127.0.0.1, ::1",
        "listen_port": pooler.port,
        "unix_socket_dir": f"/run/{UNIT_NAME}",
        "auth_type": "hba",
        "auth_hba_file": ACCESS,
        "auth_file": USERS,
        "pool_mode": "transaction",
        "default_pool_size": pooler.size,
        "max_client_conn": pooler.connections,
        "client_tls_sslmode": "allow",  # the access rules demand TLS from other hosts
        "client_tls_cert_file": certificate,
        "client_tls_key_file": key,
        "ignore_startup_parameters": "extra_float_digits",  # every JDBC client sends it
    }
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    return f"{HEADER}[databases]\n* = host=/var/run/postgresql port={server_port}\n[pgbouncer]\n{lines}"


def access_text(clients: Sequence[str]) -> str:
    """Return who can connect from where: with a password, and from other hosts with TLS."""
    remote = "".join(f"hostssl all all {network(client)} scram-sha-256\n" for client in clients)
    return (
        f"{HEADER}local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        f"host all all ::1/128 scram-sha-256\n{remote}"
    )


def drop_in_text(connections: int) -> str:
    """Return the settings of the service: its own user, and enough files for all connections."""
    return (
        f"{HEADER}[Unit]\nAfter=postgresql.service\n[Service]\nUser={USER}\nSupplementaryGroups=ssl-cert\n"
        f"RuntimeDirectory={UNIT_NAME}\nLimitNOFILE={2 * connections + 1024}\nRestart=on-failure\n"
        "NoNewPrivileges=yes\nPrivateTmp=yes\nProtectHome=yes\nProtectSystem=strict\n"
    )


_USERS = (
    'SELECT pg_catalog.format(\'"%s" "%s"\', rolname, rolpassword) FROM pg_catalog.pg_authid '
    "WHERE rolname IN (NAMES) AND rolcanlogin AND NOT rolsuper AND rolpassword LIKE 'SCRAM-SHA-256$%' "
    "ORDER BY rolname"
)


def users_query(roles: Sequence[str]) -> str:
    """Return the query for the lines of the file of users: the SCRAM secrets of these roles."""
    names = ", ".join(f"'{role}'" for role in sorted(roles)) or "NULL"
    return _USERS.replace("NAMES", names)


def users_command(roles: Sequence[str]) -> str:
    """Return the command that prints the file of users."""
    return f"{PSQL} --command={shlex.quote(users_query(roles))}"


def set_up_pooler(pooler: Pooler, roles: Sequence[str], tls: Tls | None, server_port: int) -> None:
    """Install, configure and start the pooler."""
    operations.install_packages(name="Pooler", packages=[PACKAGE])
    add_pooler_user(name="User of the pooler")
    owner = f"root:{USER}"
    if tls:
        operations.write_secret_file(
            name="Certificate of the pooler", dest=CERTIFICATE, text=tls.bundle, mode="640", owner=owner
        )
    operations.write_file(
        name="Access rules of the pooler", text=access_text(pooler.clients), dest=ACCESS, mode="640", owner=owner
    )
    write_users(name="Users of the pooler", roles=roles)
    operations.write_file(name="Service of the pooler", text=drop_in_text(pooler.connections), dest=DROP_IN)
    operations.write_file(
        name="Settings of the pooler",
        text=pooler_config(pooler, server_port, own_certificate=tls is not None),
        dest=CONFIG,
        mode="640",
        owner=owner,
    )
    operations.reload_systemd(name="Service file of the pooler", files=[DROP_IN])
    operations.ensure_unit(name="Start the pooler", unit=UNIT, files=[CONFIG, DROP_IN])
    operations.ensure_unit(name="Reload the pooler", unit=UNIT, files=[USERS, ACCESS, CERTIFICATE], verb="reload")


@operation_with_facts(lambda **_: command_output(USER_EXISTS))
def add_pooler_user(facts: HostFacts) -> Steps:
    """Create the user that the pooler runs as."""
    if not facts.output[USER_EXISTS]:
        yield f"useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin {USER}"


@operation_with_facts(lambda roles, **_: file_contents(USERS) | command_output(f"{users_command(roles)} | sha256sum"))
def write_users(facts: HostFacts, roles: Sequence[str]) -> Steps:
    """Write the SCRAM secrets of these roles into the file of users. They never leave the host."""
    current, wanted = facts.paths.get(USERS), facts.output[f"{users_command(roles)} | sha256sum"]
    up_to_date = current and (current.mode, current.owner) == ("640", f"root:{USER}")
    if not up_to_date or wanted != [f"{facts.checksums.get(USERS)}  -"]:
        write = operations.write_command(USERS, "640", f"root:{USER}")
        lines = f'lines=$({users_command(roles)}) && [ -n "$lines" ]'
        yield FunctionCommand(_write_users, (f"{lines} && printf '%s\\n' \"$lines\" | {{ {write}; }}",), {})


def _write_users(state: State, host: Host, command: str) -> bool:
    ok, output = run_silently(host, f"{{ {command}; }} 2>&1")
    if not ok:
        log_message(host, "\n".join(output))
    return ok


@operation_with_facts(lambda **_: command_output(OURS))
def remove_pooler(facts: HostFacts) -> Steps:
    """Stop a pooler that `set_up_pooler` configured, and remove its files."""
    if facts.output[OURS] == ["ours"]:
        files = shlex.join([CONFIG, ACCESS, USERS, CERTIFICATE, DROP_IN])
        yield f"systemctl disable --quiet --now {UNIT} && rm --force {files} && systemctl daemon-reload"
