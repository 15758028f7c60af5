import socket
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import Endpoint, is_permanent, reach, translate_error, tunnel_parameters
from jobs.run.job import Transient


@dataclass(frozen=True)
class Target:
    url: str
    password: None = None
    via: None = None


def test_the_password_is_only_in_the_process_environment() -> None:
    with reach(None, Target("postgresql://me:s3cret@db:5433/shop?sslmode=verify-full")) as endpoint:  # type: ignore[arg-type]
        assert endpoint.environment["PGPASSWORD"] == "s3cret"
        assert "s3cret" not in f"{endpoint} {endpoint.conninfo}"
        parameters = conninfo_to_dict(endpoint.conninfo)
        assert {key: parameters[key] for key in ("user", "host", "port", "dbname", "sslmode")} == {
            **{"user": "me", "host": "db", "port": "5433", "dbname": "shop", "sslmode": "verify-full"},
        }


def test_without_a_password_libpq_uses_its_own_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with reach(None, Target("service=shop")) as endpoint:  # type: ignore[arg-type]
        assert "PGPASSWORD" not in endpoint.environment
        assert conninfo_to_dict(endpoint.conninfo)["service"] == "shop"


def test_a_passphrase_in_a_url_is_refused_because_it_would_be_visible() -> None:
    with pytest.raises(BackupError, match="without a passphrase"), reach(None, Target("host=db sslpassword=x")):  # type: ignore[arg-type]
        pass


def test_any_database_name_survives_the_connection_string() -> None:
    for name in ("a b", "it's", "a=b", "\\", "postgresql://x", "naïve\n"):
        assert conninfo_to_dict(Endpoint({"host": "db"}).with_database(name).conninfo)["dbname"] == name


def test_a_tunnel_keeps_the_host_name_for_the_certificate() -> None:
    assert tunnel_parameters("db.internal", 4001) == {"host": "db.internal", "hostaddr": "127.0.0.1", "port": "4001"}
    assert tunnel_parameters("/run/postgresql", 4001)["host"] == "localhost"


OWN = "-c role=none -c default_transaction_deferrable=off"


@pytest.mark.parametrize(
    ("message", "permanent"),
    [
        ('FATAL:  password authentication failed for user "me"', True),
        ('FATAL:  database "shop" does not exist', True),
        ("fe_sendauth: no password supplied", True),
        ("FATAL:  the database system is starting up", False),
        ("connection refused\n\tIs the server running on that host?", False),
        ("server closed the connection unexpectedly", False),
        ("FATAL:  sorry, too many clients already", False),
        (
            "FATAL:  remaining connection slots are reserved\nFATAL:  no pg_hba.conf entry for host, no encryption",
            False,
        ),
        ("FATAL:  pg_hba.conf rejects connection for host", True),
    ],
)
def test_libpq_errors_are_permanent_or_transient_by_their_text(message: str, permanent: bool) -> None:
    assert is_permanent(message) is permanent
    assert isinstance(translate_error(psycopg.OperationalError(message)), BackupError if permanent else Transient)


def test_the_same_error_with_and_without_tls_is_shown_once() -> None:
    refused = 'connection to server at "db" (10.0.0.7), port 5432 failed: FATAL:  password authentication failed'
    error = translate_error(psycopg.OperationalError(f"connection failed: {refused}\n{refused}"))
    assert str(error) == refused.replace("  ", " ")
    hosts = 'no pg_hba.conf entry for host "10.0.0.9", {}'
    error = translate_error(
        psycopg.OperationalError(f"{hosts.format('SSL encryption')}\n{hosts.format('no encryption')}")
    )
    assert str(error).endswith('"10.0.0.9", SSL encryption. no pg_hba.conf entry for host "10.0.0.9", no encryption')


def test_the_lines_of_an_error_become_sentences() -> None:
    error = translate_error(psycopg.OperationalError("connection refused\n\tIs the server running on that host?"))
    assert str(error) == "connection refused. Is the server running on that host?"


def test_a_server_that_does_not_respond_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        endpoint = Endpoint({"host": "127.0.0.1", "port": port, "dbname": "shop", "connect_timeout": "2"})
        with pytest.raises(Transient, match=f'^server at "127.0.0.1", port {port} did not respond in time$'):
            endpoint.connect()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.errors.AdminShutdown("terminating connection"), Transient),
        (psycopg.errors.DiskFull("no space left"), Transient),
        (psycopg.errors.InsufficientPrivilege("permission denied for table orders"), BackupError),
    ],
)
def test_server_errors_are_permanent_or_transient_by_sqlstate(error: psycopg.Error, kind: type[Exception]) -> None:
    assert isinstance(translate_error(error), kind)


@pytest.mark.parametrize(
    ("url", "inherited", "options"),
    [
        ("host=db", "", f"{OWN} -c search_path="),
        ("host=db options='-c work_mem=5MB'", "-c a.b=1", f"{OWN} -c work_mem=5MB -c search_path="),
        ("host=db", "-c a.b=1", f"{OWN} -c a.b=1 -c search_path="),
        ("host=db options='-c search_path=public'", "", f"{OWN} -c search_path=public -c search_path="),
    ],
)
def test_every_connection_has_an_empty_search_path(
    url: str, inherited: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", inherited)
    with reach(None, Target(url)) as endpoint:  # type: ignore[arg-type]
        assert conninfo_to_dict(endpoint.conninfo)["options"] == options


def test_more_options_come_before_the_search_path() -> None:
    endpoint = Endpoint({"options": "-c a.b=1"}).with_options("-c c.d=2")
    assert conninfo_to_dict(endpoint.conninfo)["options"] == f"{OWN} -c a.b=1 -c c.d=2 -c search_path="


def test_only_scripts_of_the_team_have_the_search_path_of_the_database() -> None:
    endpoint = Endpoint({"host": "db", "options": "-c a.b=1"}, for_scripts=True)
    assert conninfo_to_dict(endpoint.conninfo) == {"host": "db", "options": f"{OWN} -c a.b=1"}
    assert conninfo_to_dict(Endpoint({"host": "db"}, for_scripts=True).conninfo)["options"] == OWN
