"""Each kind of value: what it reads, and what it refuses."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from inventories import Cron, Span, Via, kinds
from inventories.reading import Position, ValueType, Wrong

HERE = Position("inventories/staging.toml", Path("/repository/inventories"), ("databases", "shop", "password"))

READ = [
    (kinds.DURATION, "60s", timedelta(seconds=60)),
    (kinds.DURATION, "10m", timedelta(minutes=10)),
    (kinds.DURATION, "1h30m", timedelta(minutes=90)),
    (kinds.DURATION, "2d", timedelta(days=2)),
    (kinds.DURATION, "1w", timedelta(days=7)),
    (kinds.SPAN, "2y5m7d3h", Span(years=2, months=5, days=7, hours=3)),
    (kinds.SPAN, "90d", Span(days=90)),
    (kinds.SPAN, "5m", Span(months=5)),
    (kinds.COUNT, 7, 7),
    (kinds.COUNT, -1, -1),
    (kinds.COUNT, "all", -1),
    (kinds.FACTOR, "2x", 2.0),
    (kinds.FACTOR, "1.5x", 1.5),
    (kinds.MONEY, 2500, 2500.0),
    (kinds.MONEY, 0.5, 0.5),
    (kinds.CRON, "0 2 * * *", Cron("0 2 * * *")),
    (kinds.CRON, " 0  2 * * mon-fri ", Cron("0 2 * * mon-fri")),
    (kinds.CRON, "0 0 L * *", Cron("0 0 L * *")),
    (kinds.STORE_URL, "s3://acme-backups", "s3://acme-backups"),
    (kinds.STORE_URL, "s3://acme-backups/", "s3://acme-backups"),
    (kinds.STORE_URL, "s3://acme-backups/a/b/", "s3://acme-backups/a/b"),
    (kinds.STORE_URL, "file:///var/lib/groundcrew", "file:///var/lib/groundcrew"),
    (kinds.HTTP_URL, "http://127.0.0.1:8333/", "http://127.0.0.1:8333"),
    (kinds.VIA, {"ssh": "bastion.internal"}, Via(ssh="bastion.internal")),
    (kinds.VIA, {"ssh": "ops@bastion"}, Via(ssh="ops@bastion")),
    (kinds.VIA, {"ssh": "ops@bastion:2222"}, Via(ssh="ssh://ops@bastion:2222")),
    (kinds.VIA, {"ssh": "[2001:db8::1]:22"}, Via(ssh="ssh://[2001:db8::1]:22")),
    (kinds.VIA, {"ssh": "[2001:db8::1]"}, Via(ssh="ssh://[2001:db8::1]")),
    (kinds.VIA, {"kubernetes": "prod/pod/postgres-0"}, Via(kubernetes="prod/pod/postgres-0")),
    (
        kinds.VIA,
        {"kubernetes": "prod/statefulset/postgres", "context": "prod"},
        Via(kubernetes="prod/statefulset/postgres", context="prod"),
    ),
    (kinds.RECIPIENTS, "nobody", ()),
    (kinds.PATH_IN_STORE, "status/index.html", "status/index.html"),
    (kinds.FILE_BESIDE, "sanitise/shop.sql", Path("/repository/inventories/sanitise/shop.sql")),
    (kinds.PROGRAM, "tofu", "tofu"),
    (kinds.PROGRAM, "/opt/terraform", "/opt/terraform"),
]


@pytest.mark.parametrize(("kind", "written", "value"), READ)
def test_it_reads(kind: ValueType[object], written: object, value: object) -> None:
    assert kind.read(written, HERE) == value
    assert HERE.faults == []


LIBPQ_TAKES = [
    "postgresql://backup@db.internal:5432/shop",
    "postgres://db/shop",
    "postgresql:///shop?host=/run/postgresql",
    "postgresql://%2Frun%2Fpostgresql/shop",
    "postgresql:///?service=shop",
    "postgresql://user@a:5432,b:5433/shop?target_session_attrs=standby",
    "postgresql://[2001:db8::1]:5432/shop?sslmode=verify-full&sslrootcert=/etc/ca.pem",
    "postgresql:///shop?passfile=/etc/groundcrew/pgpass",
    "postgresql://db?dbname=shop",
    "postgresql://back%40up@db/sh%20op",
]


@pytest.mark.parametrize("url", LIBPQ_TAKES)
def test_an_address_that_libpq_takes_is_taken_as_it_is(url: str) -> None:
    from psycopg.conninfo import conninfo_to_dict

    assert conninfo_to_dict(url)
    assert kinds.DATABASE_URL.read(url, HERE) == url


LIBPQ_REFUSES = [
    "postgresql://db:5432:1/shop",
    "postgresql://[2001:db8::1/shop",
    "postgresql://db/50%",
    "postgresql://db/shop?sslmode",
    "host=db dbname=shop",
]


@pytest.mark.parametrize("url", LIBPQ_REFUSES)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Wrong, match="is not a PostgreSQL address"):
        kinds.DATABASE_URL.read(url, HERE)


WITH_A_PASSWORD = [
    "postgresql://backup:hunter2@db/shop",
    "postgresql://:hunter2@db/shop",
    "postgresql://db/shop?password=hunter2",
    "postgresql://db/shop?sslmode=require&sslpassword=hunter2",
    "postgresql://backup:hunter2/3@db/shop",
]


@pytest.mark.parametrize("url", WITH_A_PASSWORD)
def test_a_password_in_an_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(Wrong, match="take it out, and add password") as refused:
        kinds.SERVER_URL.read(url, HERE)
    assert "hunter2" not in str(refused.value)


def test_a_server_needs_no_database_in_its_address() -> None:
    assert kinds.SERVER_URL.read("postgresql://backup@db", HERE) == "postgresql://backup@db"


def test_recipients_are_those_that_age_can_seal_for() -> None:
    from pyrage import x25519

    age = str(x25519.Identity.generate().to_public())
    ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN ops@acme"
    assert kinds.RECIPIENTS.read([age, ssh], HERE) == (age, ssh)


def test_a_recipient_with_one_letter_changed_is_refused() -> None:
    from pyrage import x25519

    age = str(x25519.Identity.generate().to_public())
    place = Position("", Path())
    kinds.RECIPIENTS.read([age[:-1] + ("q" if age[-1] != "q" else "p")], place)
    assert [path for path, _ in place.faults] == [("1",)]


def test_unforeseen_cron_lines_are_refused_rather_than_raised() -> None:
    for line in (
        "L,5 * * * *",
        "* * L/0 * *",
        "* * L-3 * *",
        "* * 1,L * *",
        "* * * * 1#9",
        "* * LW/2 * *",
        "* * ½ * *",
    ):
        try:
            kinds.CRON.read(line, HERE)
        except Wrong as refused:
            assert "is not a cron line" in str(refused)  # noqa: PT017
