"""Decide how a primary and its standbys replicate, from the inventory and the group data `postgres_replication`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pyinfra import host, inventory

from deploys.lib import passwords
from deploys.lib.group_data import unknown_keys
from deploys.lib.header import HEADER
from deploys.lib.k3s.cluster import run_on
from deploys.lib.k3s.node_config import is_ip_address
from deploys.lib.k3s.peers import own_addresses
from deploys.lib.postgres.pitr import SIZE, default_queue
from deploys.lib.preflight import DeployError, stop_on_faults
from inventories import Secret

PRIMARIES, STANDBYS = "postgres_servers", "postgres_standbys"
ROLE = "replicator"
SLOT_PREFIX = "groundcrew_"
PASSFILE = "/var/lib/postgresql/.groundcrew-replication"
CONNECTION = "conf.d/groundcrew-replication.conf"  # read after groundcrew.conf
# pg_rewind reads the files of the primary with these. The role can copy the whole cluster anyway.
REWIND_FUNCTIONS = (
    "pg_catalog.pg_ls_dir(text, boolean, boolean)",
    "pg_catalog.pg_stat_file(text, boolean)",
    "pg_catalog.pg_read_binary_file(text)",
    "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
)


@dataclass(frozen=True)
class Member:
    """A primary or a standby, with the private addresses from which others hear it."""

    name: str
    addresses: tuple[str, ...]

    @property
    def slot(self) -> str:
        return slot_name(self.name)


@dataclass(frozen=True)
class Replication:
    """A primary with its standbys, as one of them sees it."""

    me: Member
    primary: Member
    standbys: tuple[Member, ...]
    port: int = 5432
    keep_wal: str = ""  # the most WAL that waits for a standby, such as "16GiB"; "" means a quarter of the disk
    password: Secret = field(default_factory=Secret)

    @property
    def is_standby(self) -> bool:
        return self.me != self.primary

    @property
    def peers(self) -> tuple[Member, ...]:
        return tuple(each for each in (self.primary, *self.standbys) if each != self.me)

    @property
    def passfile(self) -> Secret:
        return Secret(literal=f"*:*:*:{ROLE}:{escape_password(self.password.reveal())}\n")


def slot_name(name: str) -> str:
    """Return the name of a standby's replication slot."""
    return (SLOT_PREFIX + re.sub(r"[^a-z0-9_]", "_", name.lower()))[:63]


def escape_password(password: str) -> str:
    """Return a password as a password file of PostgreSQL has it."""
    return password.replace("\\", "\\\\").replace(":", "\\:")


def faults(given: Any, names: Sequence[str], roles: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each fault in `postgres_replication`, in the standbys' names, and in roles with the name of ours."""
    if not isinstance(given, Mapping) or not given:
        yield (
            f"postgres_replication is missing, and {', '.join(names)} is in {STANDBYS}; "
            'write {"password": {"env": "POSTGRES_REPLICATION_PASSWORD"}}'
        )
        return
    yield from unknown_keys("postgres_replication", given, {"password", "keep_wal"})
    yield from passwords.faults("postgres_replication: password", given.get("password"))
    if given.get("keep_wal") and not SIZE.fullmatch(str(given["keep_wal"])):
        yield f'postgres_replication: keep_wal: {given["keep_wal"]!r} is not a size; write one such as "16GiB"'
    if len({slot_name(name) for name in names}) < len(names):
        yield f"{STANDBYS}: {', '.join(names)}: these names differ too little to name replication slots; rename one"
    if any(role.get("name") == ROLE for role in roles):
        yield f"postgres_roles: {ROLE} is the role of the standbys; remove it"


def primary_name(standby: str, given: object, primaries: Sequence[str]) -> str:
    """Return the primary of a standby; raise DeployError if it is not clear."""
    if standby in primaries:
        raise DeployError(f"{standby} is in {PRIMARIES} and in {STANDBYS}; remove it from one of them")
    if given and given not in primaries:
        raise DeployError(f"{standby}: postgres_primary is {given}, which is not in {PRIMARIES}; correct it")
    if not given and len(primaries) != 1:
        raise DeployError(
            f"{standby}: set its postgres_primary in the inventory, because {PRIMARIES} has {len(primaries)} hosts"
        )
    return str(given or primaries[0])


def members_of(name: str, standbys: Mapping[str, object], primaries: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the primary and the standbys that a host belongs to; None if it does not replicate.

    `standbys` has the `postgres_primary` of each standby.
    """
    primary_of = {each: primary_name(each, given, primaries) for each, given in standbys.items()}
    primary = primary_of.get(name, name)
    own = [each for each, of in primary_of.items() if of == primary]
    return (primary, own) if own else None


def names_of_host() -> tuple[str, list[str]] | None:
    """Return the primary and the standbys that this host belongs to; None if it does not replicate."""
    standbys = {each.name: each.data.get("postgres_primary") for each in inventory.groups.get(STANDBYS, [])}
    return members_of(host.name, standbys, [each.name for each in inventory.groups.get(PRIMARIES, [])])


def adopt_group_data() -> None:
    """Give a standby the group data of its primary, so that it can take its place. Its own data wins."""
    names = names_of_host()
    if names and host.name != names[0]:
        for key, value in inventory.get_host(names[0]).data.dict().items():
            if key.startswith("postgres_") and host.data.get(key) is None:
                setattr(host.data, key, value)


def replication_of_host(*, without_addresses: bool = False) -> Replication | None:
    """Return the replication that this host takes part in, or None; raise DeployError with all faults.

    `without_addresses` works if members can't be reached.
    """
    names = names_of_host()
    if not names:
        return None
    adopt_group_data()
    primary, standbys = names
    given = host.data.get("postgres_replication")
    stop_on_faults(faults(given, standbys, host.data.get("postgres_roles") or []))
    members = {
        name: Member(name, () if without_addresses else private_addresses(name)) for name in (primary, *standbys)
    }
    return Replication(
        members[host.name],
        members[primary],
        tuple(members[name] for name in standbys),
        int((host.data.get("postgres_settings") or {}).get("port") or 5432),
        str(given.get("keep_wal") or ""),
        Secret(literal=passwords.reveal("password of postgres_replication", given["password"])),
    )


@cache
def private_addresses(name: str) -> tuple[str, ...]:
    """Return a host's postgres_address, or else all its private addresses."""
    given = str(inventory.get_host(name).data.get("postgres_address") or "")
    if given and not is_ip_address(given):
        raise DeployError(f"{name}: postgres_address is {given}, not an IP address; correct it in the inventory")
    ok, lines = (True, []) if given else run_on(name, "ip -oneline address show")
    found = (given,) if given else tuple(filter(is_private, own_addresses(lines))) if ok else ()
    if not found:
        reason = "it has no private address" if ok else "; ".join(lines)
        raise DeployError(f"{name}: {reason}; set its postgres_address in the inventory, to which its peers connect")
    return found


def is_private(address: str) -> bool:
    return ipaddress.ip_address(address).is_private


def peer_addresses() -> tuple[str, ...]:
    """Return the addresses of this host's peers, for its firewall."""
    primary, standbys = names_of_host() or (host.name, [])
    return tuple(each for name in (primary, *standbys) if name != host.name for each in private_addresses(name))


def access_rules(replication: Replication) -> list[str]:
    """Return the lines of pg_hba.conf for the peers: for replication, and for pg_rewind."""
    networks = [str(ipaddress.ip_network(each)) for peer in replication.peers for each in peer.addresses]
    return [f"hostssl replication,postgres {ROLE} {network} scram-sha-256" for network in networks]


def replication_settings(replication: Replication, stanza: str, disk: int) -> dict[str, str]:
    """Return the settings that primary and standbys share, so that each can take the primary's place.

    A standby that is away makes its primary keep WAL, up to a quarter of the disk, which has `disk` MiB.
    """
    keep_wal = replication.keep_wal or default_queue(disk)
    fetch = {"restore_command": f'pgbackrest --stanza={stanza} archive-get %f "%p"'} if stanza else {}
    return {
        **fetch,
        "max_slot_wal_keep_size": keep_wal.replace("iB", "B"),
        "hot_standby_feedback": "on",
        "max_standby_streaming_delay": "30min",
        "wal_log_hints": "on",
    }


def conninfo(target: Member, port: int, application: str) -> str:
    """Return how a member connects to another one; the password is in the password file."""
    words = f"host={target.addresses[0]} port={port} user={ROLE} passfile={PASSFILE} sslmode=require"
    return f"{words} connect_timeout=10 application_name={application}"


def connection_settings(replication: Replication) -> str:
    """Return the file of settings that says from where a standby streams; once it is promoted, it ignores them."""
    own = replication.me.slot
    source = conninfo(replication.primary, replication.port, own)
    return f"{HEADER}primary_conninfo = '{source}'\nprimary_slot_name = '{own}'\n"


def role_statements(found: str, verifier: str) -> list[str]:
    """Return the statements that give the role of the standbys what it needs.

    `found` is "" if there is no such role; `verifier` is "" if its password is right.
    """
    attributes = "LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"
    return [
        f"{'ALTER' if found else 'CREATE'} ROLE {ROLE} {attributes}",
        *([f"ALTER ROLE {ROLE} PASSWORD '{verifier}'"] if verifier else []),
        *(f"GRANT EXECUTE ON FUNCTION {each} TO {ROLE}" for each in REWIND_FUNCTIONS),
    ]


@dataclass(frozen=True)
class ReplicationSlot:
    """A replication slot of ours on a server."""

    name: str
    active: bool
    lost: bool  # the server has removed WAL that the standby still needs


def slot_statements(existing: Sequence[ReplicationSlot], wanted: Sequence[str]) -> list[str]:
    """Return the statements that create missing slots, replace lost ones and drop those of former standbys."""
    dead = [each.name for each in existing if not each.active and (each.lost or each.name not in wanted)]
    kept = {each.name for each in existing} - set(dead)
    return [
        *(f"SELECT pg_catalog.pg_drop_replication_slot('{name}')" for name in dead),
        *(f"SELECT pg_catalog.pg_create_physical_replication_slot('{n}', true)" for n in wanted if n not in kept),
    ]
