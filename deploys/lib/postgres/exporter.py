"""prometheus-postgres-exporter: the metrics of a PostgreSQL server, read by a role that sees no table."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploys.lib import operations
from deploys.lib.facts import HostFacts, command_output, operation_with_facts
from deploys.lib.group_data import unknown_keys
from deploys.lib.header import HEADER, SENTENCE
from deploys.lib.operations import Steps
from deploys.lib.postgres.roles import DesiredRole

PACKAGE = "prometheus-postgres-exporter"
UNIT, CONFIG = f"{PACKAGE}.service", f"/etc/default/{PACKAGE}"
# The package runs it as this user. The server knows the user by its socket, so there is no password.
ROLE = DesiredRole("prometheus", "", frozenset({"pg_monitor"}))
ACCESS_RULE = f"local postgres {ROLE.name} peer"
OURS = f"grep --quiet --fixed-strings {shlex.quote(SENTENCE)} {CONFIG} && echo ours"


@dataclass(frozen=True)
class Exporter:
    """Where the exporter listens."""

    address: str = "127.0.0.1"
    port: int = 9187


def faults(given: Any) -> Iterator[str]:
    """Yield each fault in `postgres_exporter`."""
    if not isinstance(given, Mapping):
        yield 'postgres_exporter: write a dictionary, such as {"address": "127.0.0.1", "port": 9187}'
        return
    yield from unknown_keys("postgres_exporter", given, {"address", "port"})
    try:
        ipaddress.ip_address(str(given.get("address", "127.0.0.1")))
    except ValueError:
        yield f'postgres_exporter: address: {given["address"]!r} is not an address; "0.0.0.0" stands for all of IPv4'
    port = given.get("port", 1)
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        yield f"postgres_exporter: port: {port!r} is not a number from 1 to 65535"


def exporter_options(exporter: Exporter, server_port: int) -> str:
    """Return the file with the options of the service."""
    address = f"[{exporter.address}]" if ":" in exporter.address else exporter.address
    return (
        f"{HEADER}DATA_SOURCE_NAME='user={ROLE.name} host=/run/postgresql port={server_port} dbname=postgres'\n"
        f'ARGS="--web.listen-address={address}:{exporter.port}"\n'
    )


def set_up_exporter(exporter: Exporter, server_port: int) -> None:
    """Install, configure and start the exporter."""
    operations.install_packages(name="Exporter", packages=[PACKAGE])
    operations.write_file(name="Settings of the exporter", text=exporter_options(exporter, server_port), dest=CONFIG)
    operations.ensure_unit(name="Start the exporter", unit=UNIT, files=[CONFIG])


@operation_with_facts(lambda **_: command_output(OURS))
def remove_exporter(facts: HostFacts) -> Steps:
    """Stop an exporter that `set_up_exporter` configured. Without its access rule, the role can't log in."""
    if facts.output[OURS] == ["ours"]:
        yield f"systemctl disable --quiet --now {UNIT} && rm --force {CONFIG}"
