"""Each type of value: what it accepts, and what it rejects."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from inventories import Cron, PlanCheck, Span, TunnelSettings, value_types
from inventories.reading import InvalidValue, Position, ValueType

HERE = Position("inventories/staging.toml", Path("/repository/inventories"), ("databases", "shop", "password"))

READ = [
    (value_types.DURATION, "60s", timedelta(seconds=60)),
    (value_types.DURATION, "10m", timedelta(minutes=10)),
    (value_types.DURATION, "1h30m", timedelta(minutes=90)),
    (value_types.DURATION, "2d", timedelta(days=2)),
    (value_types.DURATION, "1w", timedelta(days=7)),
    (value_types.SPAN, "2y5m7d3h", Span(years=2, months=5, days=7, hours=3)),
    (value_types.SPAN, "90d", Span(days=90)),
    (value_types.SPAN, "5m", Span(months=5)),
    (value_types.COUNT, 7, 7),
    (value_types.COUNT, -1, -1),
    (value_types.COUNT, "all", -1),
    (value_types.FACTOR, "2x", 2.0),
    (value_types.FACTOR, "1.5x", 1.5),
    (value_types.MONEY, 2500, 2500.0),
    (value_types.MONEY, 0.5, 0.5),
    (value_types.CRON, "0 2 * * *", Cron("0 2 * * *")),
    (value_types.CRON, " 0  2 * * mon-fri ", Cron("0 2 * * mon-fri")),
    (value_types.CRON, "0 0 L * *", Cron("0 0 L * *")),
    (value_types.STORE_URL, "s3://acme-backups", "s3://acme-backups"),
    (value_types.STORE_URL, "s3://acme-backups/", "s3://acme-backups"),
    (value_types.STORE_URL, "s3://acme-backups/a/b/", "s3://acme-backups/a/b"),
    (value_types.STORE_URL, "file:///var/lib/groundcrew", "file:///var/lib/groundcrew"),
    (value_types.HTTP_URL, "http://127.0.0.1:8333/", "http://127.0.0.1:8333"),
    (value_types.VIA, {"ssh": "bastion.internal"}, TunnelSettings(ssh="bastion.internal")),
    (value_types.VIA, {"ssh": "ops@bastion"}, TunnelSettings(ssh="ops@bastion")),
    (value_types.VIA, {"ssh": "ops@bastion:2222"}, TunnelSettings(ssh="ssh://ops@bastion:2222")),
    (value_types.VIA, {"ssh": "[2001:db8::1]:22"}, TunnelSettings(ssh="ssh://[2001:db8::1]:22")),
    (value_types.VIA, {"ssh": "[2001:db8::1]"}, TunnelSettings(ssh="ssh://[2001:db8::1]")),
    (value_types.VIA, {"kubernetes": "prod/pod/postgres-0"}, TunnelSettings(kubernetes="prod/pod/postgres-0")),
    (
        value_types.VIA,
        {"kubernetes": "prod/statefulset/postgres", "context": "prod"},
        TunnelSettings(kubernetes="prod/statefulset/postgres", context="prod"),
    ),
    (value_types.RECIPIENTS, "nobody", ()),
    (value_types.PATH_IN_STORE, "status/index.html", "status/index.html"),
    (value_types.FILE_BESIDE, "sanitise/shop.sql", Path("/repository/inventories/sanitise/shop.sql")),
    (value_types.PROGRAM, "tofu", "tofu"),
    (value_types.PROGRAM, "/opt/terraform", "/opt/terraform"),
]


@pytest.mark.parametrize(("value_type", "written", "value"), READ)
def test_valid_values(value_type: ValueType[object], written: object, value: object) -> None:
    assert value_type.read(written, HERE) == value
    assert HERE.faults == []


LIBPQ_ACCEPTS = [
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


@pytest.mark.parametrize("url", LIBPQ_ACCEPTS)
def test_a_url_that_libpq_accepts_is_accepted_unchanged(url: str) -> None:
    from psycopg.conninfo import conninfo_to_dict

    assert conninfo_to_dict(url)
    assert value_types.DATABASE_URL.read(url, HERE) == url


LIBPQ_REJECTS = [
    "postgresql://db:5432:1/shop",
    "postgresql://[2001:db8::1/shop",
    "postgresql://db/50%",
    "postgresql://db/shop?sslmode",
    "host=db dbname=shop",
]


@pytest.mark.parametrize("url", LIBPQ_REJECTS)
def test_a_url_that_libpq_rejects_is_rejected(url: str) -> None:
    with pytest.raises(InvalidValue, match="is not a PostgreSQL URL"):
        value_types.DATABASE_URL.read(url, HERE)


WITH_A_PASSWORD = [
    "postgresql://backup:hunter2@db/shop",
    "postgresql://:hunter2@db/shop",
    "postgresql://db/shop?password=hunter2",
    "postgresql://db/shop?sslmode=require&sslpassword=hunter2",
    "postgresql://backup:hunter2/3@db/shop",
]


@pytest.mark.parametrize("url", WITH_A_PASSWORD)
def test_a_password_in_a_url_is_rejected_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidValue, match="remove it, and add password") as caught:
        value_types.SERVER_URL.read(url, HERE)
    assert "hunter2" not in str(caught.value)


def test_the_url_of_a_server_needs_no_database() -> None:
    assert value_types.SERVER_URL.read("postgresql://backup@db", HERE) == "postgresql://backup@db"


def test_age_and_ssh_recipients_are_accepted() -> None:
    from pyrage import x25519

    age = str(x25519.Identity.generate().to_public())
    ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN ops@acme"
    assert value_types.RECIPIENTS.read([age, ssh], HERE) == (age, ssh)


def test_a_recipient_with_a_typo_is_rejected() -> None:
    from pyrage import x25519

    age = str(x25519.Identity.generate().to_public())
    position = Position("", Path())
    value_types.RECIPIENTS.read([age[:-1] + ("q" if age[-1] != "q" else "p")], position)
    assert [path for path, _ in position.faults] == [("1",)]


def test_cron_lines_that_make_cronsim_fail_are_rejected() -> None:
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
            value_types.CRON.read(line, HERE)
        except InvalidValue as refused:
            assert "is not a cron line" in str(refused)  # noqa: PT017


def test_the_namespaces_of_trusted_keys_are_those_of_signatures() -> None:
    from jobs.backup.sets import signatures

    assert value_types.NAMESPACES == (signatures.MANIFEST_NAMESPACE, signatures.VERIFICATION_NAMESPACE)


@pytest.mark.parametrize(
    ("written", "check"),
    [
        (["a", "{plan}"], PlanCheck(("a", "{plan}"))),
        (["a", "--plan={plan}"], PlanCheck(("a", "--plan={plan}"))),
        ({"command": ["a", "{plan}"], "raw": True}, PlanCheck(("a", "{plan}"), raw=True)),
    ],
)
def test_checks_of_plans(written: object, check: PlanCheck) -> None:
    assert value_types.PLAN_CHECK.read(written, HERE) == check


@pytest.mark.parametrize(
    "written",
    ["a {plan}", [], ["a", 1], ["a", ""], ["{plan}"], ["a"], ["a", "{plan}\x1b"], {"command": ["a"], "raw": True},
     {"command": ["a", "{plan}"], "raw": "yes"}, {"command": ["a", "{plan}"], "shell": True}, {"raw": True}],
)  # fmt: skip
def test_other_checks_of_plans_are_rejected(written: object) -> None:
    with pytest.raises(InvalidValue):
        value_types.PLAN_CHECK.read(written, HERE)
