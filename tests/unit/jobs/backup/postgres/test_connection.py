from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import Reached, final, reach, through, verdict
from jobs.run.job import Transient


@dataclass(frozen=True)
class Target:
    url: str
    password: None = None
    via: None = None


def test_the_password_is_for_the_process_environment_alone() -> None:
    with reach(None, Target("postgresql://me:s3cret@db:5433/shop?sslmode=verify-full")) as reached:  # type: ignore[arg-type]
        assert reached.environment["PGPASSWORD"] == "s3cret"
        assert "s3cret" not in f"{reached} {reached.conninfo}"
        told = conninfo_to_dict(reached.conninfo)
        assert {key: told[key] for key in ("user", "host", "port", "dbname", "sslmode")} == {
            **{"user": "me", "host": "db", "port": "5433", "dbname": "shop", "sslmode": "verify-full"},
        }


def test_without_a_password_libpq_looks_where_it_always_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    with reach(None, Target("service=shop")) as reached:  # type: ignore[arg-type]
        assert "PGPASSWORD" not in reached.environment
        assert conninfo_to_dict(reached.conninfo)["service"] == "shop"


def test_a_passphrase_in_a_url_is_refused_for_it_would_show() -> None:
    with pytest.raises(BackupError, match="without a passphrase"), reach(None, Target("host=db sslpassword=x")):  # type: ignore[arg-type]
        pass


def test_any_database_name_stays_one_name() -> None:
    for name in ("a b", "it's", "a=b", "\\", "postgresql://x", "naïve\n"):
        assert conninfo_to_dict(Reached({"host": "db"}).named(name).conninfo)["dbname"] == name


def test_through_a_tunnel_the_name_stays_for_the_certificate() -> None:
    assert through("db.internal", 4001) == {"host": "db.internal", "hostaddr": "127.0.0.1", "port": "4001"}
    assert through("/run/postgresql", 4001)["host"] == "localhost"


@pytest.mark.parametrize(
    ("said", "stays"),
    [
        ('FATAL:  password authentication failed for user "me"', True),
        ('FATAL:  database "shop" does not exist', True),
        ("fe_sendauth: no password supplied", True),
        ("FATAL:  the database system is starting up", False),
        ("connection refused\n\tIs the server running on that host?", False),
        ("server closed the connection unexpectedly", False),
        ("FATAL:  sorry, too many clients already", False),
    ],
)
def test_what_stays_and_what_may_pass(said: str, stays: bool) -> None:
    assert final(said) is stays
    assert isinstance(verdict(psycopg.OperationalError(said)), BackupError if stays else Transient)


def test_a_refusal_with_tls_and_without_is_told_once() -> None:
    refused = 'connection to server at "db" (10.0.0.7), port 5432 failed: FATAL:  password authentication failed'
    told = verdict(psycopg.OperationalError(f"connection failed: {refused}\n{refused}"))
    assert str(told) == refused.replace("  ", " ")
    hosts = 'no pg_hba.conf entry for host "10.0.0.9", {}'
    told = verdict(psycopg.OperationalError(f"{hosts.format('SSL encryption')}\n{hosts.format('no encryption')}"))
    assert str(told).endswith('"10.0.0.9", SSL encryption no pg_hba.conf entry for host "10.0.0.9", no encryption')


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.errors.AdminShutdown("terminating connection"), Transient),
        (psycopg.errors.DiskFull("no space left"), Transient),
        (psycopg.errors.InsufficientPrivilege("permission denied for table orders"), BackupError),
    ],
)
def test_what_the_server_says_is_told_by_its_code(error: psycopg.Error, kind: type[Exception]) -> None:
    assert isinstance(verdict(error), kind)
