"""How a database is reached: its address, password and tunnel as what libpq and its programs want."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from inventories import redact
from jobs.backup.errors import BackupError
from jobs.backup.postgres.tunnel import Via, tunnel
from jobs.run.job import Failed, Run, Transient

if TYPE_CHECKING:
    import psycopg

    from inventories import Secret

_PATIENCE = {
    "connect_timeout": "15",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}

# Connection lost, out of resources, shut down or starting, a deadlock, an error of the server's system.
_PASSES = ("08", "53", "57P", "40", "58")

# Limits that a server or role sets, which would end what takes hours; some are not known to older servers.
NO_LIMITS = """SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN
    ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"""

_STAYS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "not permitted to log in",
    "not currently accepting connections",
    "permission denied for database",
    "certificate verify failed",
    "server does not support SSL",
    "definition of service",
    "invalid connection option",
)


_GIVE_ONE = "name one: password = { env, file or command } in its section, --password-from in a restore, or ~/.pgpass"


class Target(Protocol):
    """What of a database's or server's section of the environment file is needed to reach it."""

    @property
    def url(self) -> str: ...
    @property
    def password(self) -> Secret | None: ...
    @property
    def via(self) -> Via | None: ...


@dataclass(frozen=True, slots=True)
class Address:
    """A target that is no section of its own in the environment file."""

    url: str
    password: Secret | None
    via: Via | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """A database that can be connected to now. The password is no part of the parameters, so these may be shown."""

    parameters: Mapping[str, str]
    password: str | None = field(default=None, repr=False)

    @property
    def conninfo(self) -> str:
        """For --dbname of libpq's programs: never with a password."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo("", **self.parameters)

    @property
    def environment(self) -> dict[str, str]:
        """For the programs that connect: the password goes by the process environment, which others can't read."""
        inherited = {name: value for name, value in os.environ.items() if name != "PGCLIENTENCODING"}
        password = {"PGPASSWORD": self.password} if self.password is not None else {}
        return {**inherited, **password, "LC_ALL": "C"}  # what they say is told apart by its words

    @property
    def database(self) -> str:
        return self.parameters.get("dbname") or self.parameters.get("user") or ""

    def named(self, database: str) -> Reached:
        """Another database of the same server."""
        return replace(self, parameters={**self.parameters, "dbname": database})

    def held_to(self, connection: psycopg.Connection[Any]) -> Reached:
        """The very server that a connection reached, where an address names several or a name has several."""
        info = connection.info
        if not info.hostaddr or self.parameters.get("hostaddr"):
            return self
        kept = {key: value for key, value in self.parameters.items() if key != "target_session_attrs"}
        pinned = {"host": info.host, "hostaddr": info.hostaddr, "port": str(info.port)}
        return replace(self, parameters={**kept, **pinned})

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection; Passing if the server may be back later, BackupError if it won't let us in."""
        import psycopg

        password: dict[str, Any] = {} if self.password is None else {"password": self.password}
        try:
            return psycopg.connect(self.conninfo, **password, client_encoding="UTF8", **options)
        except psycopg.Error as error:
            raise verdict(error) from None


@contextmanager
def reach(run: Run, target: Target) -> Iterator[Reached]:
    """While inside, the target can be connected to, by way of its tunnel if it has one."""
    from psycopg.conninfo import conninfo_to_dict

    given = {key: str(value) for key, value in conninfo_to_dict(target.url).items()}
    if "sslpassword" in given:
        raise BackupError(
            "a url must not hold sslpassword: use a client key without a passphrase, in a file of its own"
        )
    written = given.pop("password", None)
    password = target.password.reveal() if target.password is not None else written
    reached = Reached({**_PATIENCE, "fallback_application_name": "groundcrew", **given}, password)
    if target.via is None:
        yield reached
        return
    host, port = given.get("host") or "localhost", given.get("port") or "5432"
    with tunnel(run, target.via, host, port) as local:
        yield replace(reached, parameters={**reached.parameters, **through(host, local)})


def through(host: str, local: int) -> dict[str, str]:
    """The tunnel's end as parameters: the host's name stays, for it is what a certificate and .pgpass tell of."""
    name = "localhost" if host.startswith("/") else host
    return {"host": name, "hostaddr": "127.0.0.1", "port": str(local)}


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise errors of PostgreSQL and libpq as BackupError or Transient."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise verdict(error) from None


def verdict(error: psycopg.Error) -> Failed | Transient:
    """A fault that the server or libpq told, as one that may pass or one that won't."""
    said = redact(str(error)).removeprefix("connection failed: ")
    # libpq asks with TLS and then without, and tells of both: the same twice where that made no difference.
    sentence = " ".join(dict.fromkeys(" ".join(line.split()) for line in said.splitlines() if line.strip()))
    if "no password supplied" in sentence:
        sentence += f"; {_GIVE_ONE}"
    if error.sqlstate is None:
        return BackupError(sentence) if final(sentence) else Transient(sentence)
    return Transient(sentence) if error.sqlstate.startswith(_PASSES) else BackupError(sentence)


def final(said: str) -> bool:
    """Whether a connection was refused for a reason that stays; libpq tells it by words only."""
    return any(sign in said for sign in _STAYS)
