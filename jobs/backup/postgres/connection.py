"""Connections to PostgreSQL: turn a URL, a password and a tunnel into parameters of libpq."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from inventories import redact
from jobs.backup.errors import BackupError
from jobs.backup.postgres.tunnel import open_tunnel
from jobs.network import is_unknown_host
from jobs.run.job import Failed, Run, Transient

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import Buffer

    from inventories import Secret, TunnelSettings

_TIMEOUTS = {
    "connect_timeout": "15",
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}

# Classes of SQLSTATE after which a retry can succeed.
# In order: connection lost, out of resources, shutdown or startup, deadlock, I/O error.
_TRANSIENT = ("08", "53", "57P", "40", "58")

# A server or role can have timeouts that end a dump of hours. Older servers do not know all of them. To read the view
# pg_settings would take milliseconds: it computes all settings.
DISABLE_TIMEOUTS = """SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.unnest(
    '{statement_timeout, idle_in_transaction_session_timeout, idle_session_timeout, transaction_timeout}'
    ::pg_catalog.text[]) AS name WHERE pg_catalog.current_setting(name, true) IS NOT NULL"""

# If a view takes the place of a table, a query on it fails. Unknown before 17, 16.4, 15.8, 14.13 and 13.16.
REFUSE_VIEWS = """SELECT pg_catalog.set_config(name, 'view, foreign-table', false) FROM pg_catalog.unnest(
    '{restrict_nonsystem_relation_kind}'::pg_catalog.text[]) AS name
    WHERE pg_catalog.current_setting(name, true) IS NOT NULL"""

# With the search_path of the database, its owner can have us call their functions instead of PostgreSQL's own.
_EMPTY_SEARCH_PATH = "-c search_path="

# With the role of ALTER DATABASE … SET role, our session would take the owner of the database for itself. With
# default_transaction_deferrable, its first query would wait until the owner ends a transaction.
_NOT_OF_OWNER = "-c role=none -c default_transaction_deferrable=off"

# The text of an amount of type money depends on this setting: `$ 5,00` in Chile is `$500.00` elsewhere.
PLAIN_MONEY = "-c lc_monetary=C"

# What poolers say that refuse startup options: PgBouncer, and the proxy of RDS.
_POOLER = ("unsupported startup parameter", "command-line options")
_POOLER_HINT = "this address is a connection pooler, such as PgBouncer; connect to PostgreSQL directly"

_CLOSED = "not currently accepting connections"
_CLOSED_HINT = "its owner has closed it: ALTER DATABASE … ALLOW_CONNECTIONS true, or add it to exclude of its server"

_PERMANENT = (
    *_POOLER,
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects connection",
    "does not exist",
    "not permitted to log in",
    _CLOSED,
    "permission denied for database",
    "certificate verify failed",
    "server does not support SSL",
    "definition of service",
    "invalid connection option",
)

_NO_ROOM = ("too many clients", "too many connections", "remaining connection slots")

OUT_OF_LOCKS = "out of shared memory"
LOCK_HINT = (
    "the server has no room for more locks: raise max_locks_per_transaction, which needs a restart of the server"
)

_LOGIN_HINT = "set one: password = { env, file or command } in its section, --password-from for a restore, or ~/.pgpass"


class ConnectionTarget(Protocol):
    """What a connection needs: a section of the environment file, or an Address."""

    @property
    def url(self) -> str: ...
    @property
    def password(self) -> Secret | None: ...
    @property
    def via(self) -> TunnelSettings | None: ...


@dataclass(frozen=True, slots=True)
class Address:
    """A connection target without its own section in the environment file."""

    url: str
    password: Secret | None = None
    via: TunnelSettings | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A database that is reachable now. The password is stored apart, so `parameters` can be printed.

    Every connection has the role that logged in, whatever the database sets, unless the URL names another. It has an
    empty search_path, except those for scripts of the team and of extensions.
    """

    parameters: Mapping[str, str]
    password: str | None = field(default=None, repr=False)
    for_scripts: bool = False

    @property
    def conninfo(self) -> str:
        """The connection string for `--dbname` of PostgreSQL's programs, without a password."""
        from psycopg.conninfo import make_conninfo

        options = [_NOT_OF_OWNER, self._options, "" if self.for_scripts else _EMPTY_SEARCH_PATH]
        return make_conninfo("", **{**self.parameters, "options": " ".join(filter(None, options))})

    @property
    def _options(self) -> str:
        """The startup options of the URL, or else of the process environment, as libpq chooses them."""
        return self.parameters.get("options") or os.environ.get("PGOPTIONS", "")

    @property
    def environment(self) -> dict[str, str]:
        """The process environment for programs that connect. It has the password: other users cannot read it there."""
        inherited = {name: value for name, value in os.environ.items() if name != "PGCLIENTENCODING"}
        password = {"PGPASSWORD": self.password} if self.password is not None else {}
        return {**inherited, **password, "LC_ALL": "C"}  # errors are recognised by their English text

    @property
    def database(self) -> str:
        return self.parameters.get("dbname") or self.parameters.get("user") or ""

    def with_database(self, database: str) -> Endpoint:
        """Return the endpoint of another database on the same server."""
        return replace(self, parameters={**self.parameters, "dbname": database})

    def with_options(self, options: str) -> Endpoint:
        """Return the endpoint with more startup options for the server."""
        return replace(self, parameters={**self.parameters, "options": f"{self._options} {options}".lstrip()})

    def with_encoding(self, encoding: str) -> Endpoint:
        """Return the endpoint with a client_encoding that the settings of the database and of the URL do not change."""
        return replace(self, parameters={**self.parameters, "client_encoding": encoding})

    def pinned_to(self, connection: psycopg.Connection[Any]) -> Endpoint:
        """Return the endpoint of the server behind `connection`: one name can resolve to several servers."""
        info = connection.info
        if not info.hostaddr or self.parameters.get("hostaddr"):
            return self
        kept = {key: value for key, value in self.parameters.items() if key != "target_session_attrs"}
        pinned = {"host": info.host, "hostaddr": info.hostaddr, "port": str(info.port)}
        return replace(self, parameters={**kept, **pinned})

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Return a new connection; Transient if a retry can help, BackupError if not."""
        import psycopg

        password: dict[str, Any] = {} if self.password is None else {"password": self.password}
        try:
            connection = psycopg.connect(self.conninfo, **password, client_encoding="UTF8", **options)
            try:
                _require_empty_search_path(connection)
            except BaseException:
                connection.close()
                raise
        except psycopg.errors.ConnectionTimeout:
            host, port = self.parameters.get("host", "localhost"), self.parameters.get("port", "5432")
            raise Transient(f'server at "{host}", port {port} did not respond in time') from None
        except psycopg.Error as error:
            raise translate_error(error) from None
        return connection


def with_names_of_any_encoding(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    r"""Return the connection. It reads names of roles and databases that are not UTF-8, such as `caf\xe9`.

    A database with another encoding can create them. No statement finds them, and others must not fail because of them.
    """
    from psycopg.types.string import TextLoader

    class Loader(TextLoader):
        def load(self, data: Buffer) -> str:
            return bytes(data).decode(errors="backslashreplace")

    for kind in ("name", "text"):
        connection.adapters.register_loader(kind, Loader)
    return connection


def server_encoding(connection: psycopg.Connection[Any]) -> str:
    """Return the encoding of the database. Rows sent in it need no conversion, which some bytes have none for."""
    return connection.info.parameter_status("server_encoding") or "UTF8"


def _require_empty_search_path(connection: psycopg.Connection[Any]) -> None:
    """Raise if a pooler has ignored our startup options.

    To set the path in the session would be wrong: a pooler gives the session, with the path, to an application next.
    """
    path = connection.execute("SHOW search_path").fetchone()
    if not connection.autocommit:
        connection.rollback()
    if path not in (("",), ('""',)):
        raise BackupError(f"the startup option for search_path was ignored: {_POOLER_HINT}")


@contextmanager
def reach(run: Run, target: ConnectionTarget) -> Iterator[Endpoint]:
    """Yield the endpoint of a target, and keep its tunnel open inside this context."""
    from psycopg.conninfo import conninfo_to_dict

    parameters = {key: str(value) for key, value in conninfo_to_dict(target.url).items()}
    if "sslpassword" in parameters:
        raise BackupError("a URL must not contain sslpassword; use a client key without a passphrase, in a file")
    url_password = parameters.pop("password", None)
    password = target.password.reveal() if target.password is not None else url_password
    endpoint = Endpoint({**_TIMEOUTS, "fallback_application_name": "groundcrew", **parameters}, password)
    if target.via is None:
        yield endpoint
        return
    host, port = parameters.get("host") or "localhost", parameters.get("port") or "5432"
    with open_tunnel(run, target.via, host, port) as local_port:
        yield replace(endpoint, parameters={**endpoint.parameters, **tunnel_parameters(host, local_port)})


def tunnel_parameters(host: str, local_port: int) -> dict[str, str]:
    """Return the parameters of the tunnel's local end. The host name stays: certificates and .pgpass refer to it."""
    name = "localhost" if host.startswith("/") else host
    return {"host": name, "hostaddr": "127.0.0.1", "port": str(local_port)}


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise errors of PostgreSQL and libpq as BackupError or Transient."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise translate_error(error) from None


def translate_error(error: psycopg.Error) -> Failed | Transient:
    """Return an error of the server or libpq as Transient if a retry can succeed, else as BackupError."""
    message = redact(_message(error)).removeprefix("connection failed: ")
    # libpq tries with TLS and then without, and reports both; often the two lines are the same.
    sentence = ". ".join(dict.fromkeys(" ".join(line.split()) for line in message.splitlines() if line.strip()))
    if "no password supplied" in sentence:
        sentence += f"; {_LOGIN_HINT}"
    if any(text in sentence for text in _POOLER):
        sentence += f"; {_POOLER_HINT}"
    if _CLOSED in sentence:
        sentence += f"; {_CLOSED_HINT}"
    if OUT_OF_LOCKS in sentence:
        return BackupError(f"{sentence}; {LOCK_HINT}")
    if error.sqlstate is None:
        return BackupError(sentence) if is_permanent(sentence) else Transient(sentence)
    return Transient(sentence) if error.sqlstate.startswith(_TRANSIENT) else BackupError(sentence)


def _message(error: psycopg.Error) -> str:
    """Return the text without DETAIL, CONTEXT and the query, which can contain rows."""
    if error.sqlstate is None or error.diag.message_primary is None:
        return str(error)
    out_of_resources = error.sqlstate.startswith("53") and OUT_OF_LOCKS not in error.diag.message_primary
    hint = f". {error.diag.message_hint}" if out_of_resources and error.diag.message_hint else ""
    return error.diag.message_primary + hint


def is_permanent(message: str) -> bool:
    """Whether it is useless to connect again. libpq reports this as text only, without an error code.

    Its second attempt, without TLS, can be refused after the server had no room for the first one.
    """
    if any(text in message for text in _NO_ROOM):
        return False
    return is_unknown_host(message) or any(text in message for text in _PERMANENT)
