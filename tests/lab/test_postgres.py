"""deploys/postgres.py on a booted host, tested from outside with the passwords of the roles."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from pprint import pformat
from shlex import quote
from typing import Any

import psycopg
import pytest

from jobs.backup.postgres.privileges import missing_privileges
from tests.lab.lab import Lab
from tests.lab.pyinfra import PyinfraRun, deploy
from tests.parts.certificates import Issued, issue
from tests.parts.patience import deadline, until
from tests.parts.postgres import DISTRIBUTION

PASSWORDS = {name: f"{name}'s-own-S3cret" for name in ("shop", "ada", "backup")}
VARIABLES = {f"{name.upper()}_PASSWORD": value for name, value in PASSWORDS.items()}


def role(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "password": {"env": f"{name.upper()}_PASSWORD"}, **more}


DATA: dict[str, Any] = {
    "postgres_roles": [role("shop"), role("ada", database=True)],
    "postgres_databases": [{"name": "shop", "owner": "shop"}],
    "postgres_backup": role("backup"),
    "postgres_clients": ["198.18.0.0/15"],
    "postgres_memory": 512,
    "postgres_extensions": {"shop": ["pg_trgm", {"name": "semver", "package": "semver", "schema": "versions"}]},
}


def run(lab: Lab, *options: str, variables: dict[str, str] | None = None, **changed: object) -> PyinfraRun:
    folder = lab.folder / "data"
    folder.mkdir(exist_ok=True)
    lines = (f"{name} = {pformat(value)}\n" for name, value in {**DATA, **changed}.items())
    (folder / "lab.py").write_text("".join(lines))
    return deploy(lab, "--group-data", str(folder), *options, "deploys/postgres.py", **(variables or VARIABLES))


# As apt-daily does on a host that has just booted. Hold the lock until another apt has tried.
HOLD_THE_LISTS = """
import fcntl, subprocess
with open("/var/lib/apt/lists/lock", "a") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    subprocess.run("until pgrep --exact apt-get; do sleep 0.02; done; sleep 1", shell=True)
"""


def first_run(lab: Lab) -> None:
    lab.ask(lab.hosts[-1], f"systemd-run --quiet --collect --unit=apt-is-busy python3 -c {quote(HOLD_THE_LISTS)}")
    result = run(lab, "-vvv", "--diff", "--debug")
    assert result.code == 0, result.text
    assert lab.ssh(lab.hosts[-1], "systemctl is-active apt-is-busy").stdout == "inactive\n"
    leaked = [secret for secret in (*PASSWORDS.values(), "SCRAM-SHA-256$") if secret in result.text]
    assert leaked == [], "pyinfra prints a secret at its highest verbosity"


@pytest.fixture
def lab(prepared: Callable[..., Lab]) -> Lab:
    return prepared("postgres", 1, first_run)


def connect(lab: Lab, user: str, database: str, password: str = "", **more: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=lab.hosts[-1].address,
        dbname=database,
        user=user,
        password=password or PASSWORDS[user],
        connect_timeout=int(deadline(2.5)),
        **{"sslmode": "require", "autocommit": True, **more},
    )


def test_the_second_run_changes_and_restarts_nothing(lab: Lab) -> None:
    state = "systemctl show --property=MainPID postgresql@*-main; cat /etc/postgresql/*/main/pg_hba.conf"
    before = lab.ask(lab.hosts[0], state)
    result = run(lab, "--debug")
    assert (result.code, result.changes) == (0, 0), result.text
    assert result.commands <= 8, (
        "for the system, its servers, files and units, for PostgreSQL, its databases and extensions"
    )
    assert lab.ask(lab.hosts[0], state) == before


def test_each_role_connects_only_to_its_own_database(lab: Lab) -> None:
    with connect(lab, "shop", "shop") as shop:
        shop.execute("CREATE TABLE IF NOT EXISTS orders (id int)")
        [settings] = shop.execute("SELECT json_object_agg(name, setting) FROM pg_settings").fetchone() or [None]
        assert (settings["server_encoding"], settings["data_checksums"]) == ("UTF8", "on")
        assert settings["shared_buffers"] == str(128 * 1024 // 8)
        [privileged] = shop.execute(
            "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = 'shop'"
        ).fetchone() or [1]
        assert privileged is False
    with connect(lab, "ada", "ada") as own:
        own.execute("CREATE TABLE IF NOT EXISTS notes (id int)")
    for user, database, password, more in (
        ("ada", "shop", "", {}),
        ("shop", "ada", "", {}),
        ("shop", "shop", "guessed", {}),
        ("shop", "shop", "", {"sslmode": "disable"}),
        ("postgres", "postgres", "guessed", {}),
    ):
        with pytest.raises(psycopg.OperationalError):
            connect(lab, user, database, password, **more)


def test_the_backup_role_reads_everything_and_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    with connect(lab, "shop", "shop") as shop:
        shop.execute("DROP TABLE IF EXISTS secret")
        shop.execute("CREATE TABLE secret (id int)")
        shop.execute("INSERT INTO secret VALUES (1)")
        shop.execute("ALTER TABLE secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        shop.execute("SELECT lo_from_bytea(0, 'large')")
    result = run(lab)
    assert (result.code, result.changes) == (0, 1), result.text
    with connect(lab, "backup", "shop") as backup:
        assert list(missing_privileges(backup)) == []
        assert backup.execute("SELECT count(*) FROM secret").fetchone() == (1,)
        for change in ("CREATE TABLE x ()", "DELETE FROM secret", "CREATE ROLE x", "CREATE DATABASE x"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                backup.execute(change)
    address = f"host={lab.hosts[0].address} user=backup dbname=shop sslmode=require"
    subprocess.run(
        [DISTRIBUTION[max(DISTRIBUTION)] / "pg_dump", "--format=custom", "--file", tmp_path / "shop", address],
        env={"PGPASSWORD": PASSWORDS["backup"]},
        check=True,
    )


def test_manual_changes_are_reverted(lab: Lab) -> None:
    host = lab.hosts[0]
    psql = "cd / && runuser -u postgres -- psql -qc"
    lab.ask(host, f"{psql} \"ALTER ROLE shop SUPERUSER PASSWORD 'else'\" -c 'GRANT CONNECT ON DATABASE shop TO PUBLIC'")
    lab.ask(host, "echo 'local all all trust' >> /etc/postgresql/15/main/pg_hba.conf")
    result = run(lab)
    assert (result.code, result.changes) == (0, 3), result.text
    assert "trust" not in lab.ask(host, "cat /etc/postgresql/15/main/pg_hba.conf")
    with connect(lab, "shop", "shop") as shop:
        assert shop.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'shop'").fetchone() == (False,)
    with pytest.raises(psycopg.OperationalError):
        connect(lab, "ada", "shop")
    assert run(lab).changes == 0


def test_a_changed_password_is_set(lab: Lab) -> None:
    with lab.process_list(lab.hosts[0]) as processes:
        result = run(lab, variables={**VARIABLES, "ADA_PASSWORD": "changed"})
    assert (result.code, result.changes) == (0, 1), result.text
    assert [line for line in processes if "changed" in line or "SCRAM" in line] == []
    assert any("psql --no-psqlrc" in line for line in processes), "the command was recorded while it ran"
    with connect(lab, "ada", "ada", "changed"):
        pass
    assert run(lab).changes == 1


def test_access_rules_change_without_ending_connections(lab: Lab) -> None:
    with connect(lab, "shop", "shop") as shop:
        changed: dict[str, Any] = {
            "postgres_clients": ["198.18.0.0/15", "192.0.2.5", "2001:db8::5"],
            "postgres_hba": ["hostssl ada ada 0.0.0.0/0 reject"],
        }
        result = run(lab, **changed)
        assert (result.code, result.changes) == (0, 2), result.text
        shop.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects connection"):
            connect(lab, "ada", "ada")
        assert run(lab, **changed).changes == 0
        result = run(lab, postgres_clients=["192.0.2.5"])
        assert (result.code, result.changes) == (0, 2), result.text
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            connect(lab, "shop", "shop")
        assert run(lab).changes == 2
        wrong = run(lab, postgres_hba=["hostssl ada ada 10.0.0.5 reject"])
        assert wrong.code == 1, wrong.text
        assert "invalid IP mask" in wrong.text
        assert "the server keeps the access rules that it has; correct postgres_hba" in wrong.text
        assert run(lab).changes <= 1, "the time of the restored file can cause a reload"
        shop.execute("SELECT 1")
    with connect(lab, "shop", "shop"):
        pass


def test_access_rules_with_an_error_are_reported(lab: Lab) -> None:
    unit, access = "postgresql@15-main.service", "/etc/postgresql/15/main/pg_hba.conf"
    (lab.folder / "access.py").write_text(
        "from deploys.lib.postgres.server import reload_access_rules\n"
        f"reload_access_rules(name='Access', unit={unit!r}, access={access!r})\n"
    )
    lab.ask(lab.hosts[0], f"echo 'hostssl all all 10.0.0.5 scram-sha-256' >> {access}")
    result = deploy(lab, str(lab.folder / "access.py"))
    assert result.code == 1, result.text
    assert f"{access}:7: invalid IP mask" in result.text
    assert run(lab).changes == 2
    with connect(lab, "shop", "shop"):
        pass


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "shared_bufers",
            "1GB",
            'LOG:  unrecognized configuration parameter "shared_bufers" in file "/etc/postgresql/',
        ),
        ("work_mem", "much", 'LOG:  invalid value for parameter "work_mem": "much"'),
    ],
)
def test_invalid_settings_are_never_activated(lab: Lab, name: str, value: str, expected: str) -> None:
    listing = "cd /etc/postgresql/15/main && stat --format='%n %y' *.conf conf.d/* && ls /tmp | grep ^tmp"
    before = lab.ask(lab.hosts[0], f"{listing}; true")
    with connect(lab, "shop", "shop") as shop:
        result = run(lab, postgres_settings={name: value})
        assert result.code == 1, result.text
        assert expected in result.text
        assert "postgres_settings: the server can't start with these, and keeps the settings it has" in result.text
        shop.execute("SELECT 1")
    assert lab.ask(lab.hosts[0], f"{listing}; true") == before
    assert run(lab).changes == 0


def test_settings_that_prevent_a_start_are_rolled_back(lab: Lab) -> None:
    result = run(lab, postgres_settings={"max_connections": 3})
    assert result.code == 1, result.text
    assert "superuser_reserved_connections (3) must be less than max_connections (3)" in result.text
    assert "the server runs again with its previous settings" in result.text
    with connect(lab, "shop", "shop") as shop:
        assert shop.execute("SHOW max_connections").fetchone() == ("100",)
    assert run(lab).changes == 0
    result = run(lab, postgres_settings={"work_mem": "5MB"})
    assert (result.code, result.changes) == (0, 2), result.text
    with connect(lab, "shop", "shop") as shop:
        assert shop.execute("SHOW work_mem").fetchone() == ("5MB",)
    assert run(lab).changes == 2


def test_extensions_are_created_and_updated(lab: Lab) -> None:
    with connect(lab, "shop", "shop") as shop:
        assert shop.execute("SELECT versions.semver '1.2.3', similarity('a', 'a')").fetchone() == ("1.2.3", 1.0)
    psql = "cd / && runuser -u postgres -- psql -qX shop -c"
    lab.ask(lab.hosts[0], f"{psql} 'DROP EXTENSION pg_trgm; CREATE EXTENSION pg_trgm VERSION \"1.5\"'")
    result = run(lab)
    assert (result.code, result.changes) == (0, 1), result.text
    assert lab.ask(lab.hosts[0], f"{psql} '\\dx pg_trgm' | grep -o '1[.][0-9]'") == "1.6"
    missing = run(lab, postgres_extensions={"shop": ["semver", "ip4r"]})
    assert missing.code == 1, missing.text
    assert 'postgres_extensions: shop: ip4r is not installed; name its package: {"name": "ip4r"' in missing.text


def test_an_own_certificate_is_loaded_without_a_restart(lab: Lab, tmp_path: Path) -> None:
    address = lab.hosts[0].address
    root = issue("Root", ca=True)
    (tmp_path / "root.pem").write_text(root.pem)

    def given(leaf: Issued, key: str) -> dict[str, Any]:
        (tmp_path / "chain.pem").write_text(leaf.pem)
        names = {"certificate": str(tmp_path / "chain.pem"), "ca": str(tmp_path / "root.pem"), "names": [address]}
        return {"postgres_tls": {**names, "key": {"env": "TLS_KEY"}}, "variables": {**VARIABLES, "TLS_KEY": key}}

    def verified() -> psycopg.Connection[Any]:
        return connect(lab, "shop", "shop", sslmode="verify-full", sslrootcert=str(tmp_path / "root.pem"))

    process = lab.ask(lab.hosts[0], "systemctl show --property=MainPID postgresql@15-main")
    first, second = (issue("db", root, names=[address]) for _ in range(2))
    result = run(lab, "-vvv", "--diff", "--debug", **given(first, first.key))
    assert (result.code, result.changes) == (0, 3), result.text
    assert "PRIVATE" not in result.text
    file = "/etc/postgresql/15/main/groundcrew-tls.pem"
    assert lab.ask(lab.hosts[0], f"stat -c '%a %U' {file}") == "600 postgres"
    with verified():
        assert run(lab, **given(first, first.key)).changes == 0
        wrong = run(lab, **given(second, first.key))
        assert wrong.code == 1, wrong.text
        assert "postgres_tls: key: it does not belong to the certificate" in wrong.text
        assert run(lab, **given(second, second.key)).changes == 2
    with verified():
        assert run(lab).changes == 1
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        verified()
    assert run(lab).changes == 0
    assert lab.ask(lab.hosts[0], "systemctl show --property=MainPID postgresql@15-main") == process


def test_a_pooler_and_an_exporter_know_no_password(lab: Lab) -> None:
    host = lab.hosts[0]
    both: dict[str, Any] = {
        "postgres_pooler": {"clients": ["198.18.0.0/15"], "size": 2},
        "postgres_exporter": {"port": 9187},
    }
    with lab.process_list(host) as processes:
        result = run(lab, "-vvv", "--diff", "--debug", **both)
    assert result.code == 0, result.text
    assert [secret for secret in (*PASSWORDS.values(), "SCRAM-SHA-256$4096") if secret in result.text] == []
    assert [line for line in processes if "SCRAM-SHA-256$4096" in line] == []
    assert run(lab, **both).changes == 0

    secrets = "stat -c '%a %U %G' /etc/pgbouncer/userlist.txt; cut -d' ' -f1 /etc/pgbouncer/userlist.txt"
    assert lab.ask(host, secrets).splitlines() == ["640 root pgbouncer", '"ada"', '"shop"']
    assert lab.ask(host, "ps -C pgbouncer -o user=") == "pgbouncer"
    clients = [connect(lab, "shop", "shop", port=6432) for _ in range(4)]
    assert len({client.execute("SELECT pg_backend_pid()").fetchone() for client in clients}) <= 2
    for client in clients:
        client.close()
    refused: list[tuple[str, str, dict[str, str]]] = [
        ("shop", "guessed", {}),
        ("postgres", "guessed", {}),
        ("backup", PASSWORDS["backup"], {}),
        ("shop", PASSWORDS["shop"], {"sslmode": "disable"}),
    ]
    for user, password, more in refused:
        with pytest.raises(psycopg.OperationalError):
            connect(lab, user, "shop", password, port=6432, **more)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(lab, "shop", "ada", port=6432)

    metrics = "curl --silent http://127.0.0.1:9187/metrics"
    until(lambda: "\npg_up 1\n" in lab.ask(host, metrics), 30)
    assert 'datname="shop"' in lab.ask(host, metrics), "it sees databases that it can't connect to"
    assert "DATA_SOURCE_NAME='user=prometheus host=" in lab.ask(host, "cat /etc/default/prometheus-postgres-exporter")

    variables = {**VARIABLES, "ADA_PASSWORD": "changed"}
    assert run(lab, variables=variables, **both).changes == 3, "the role, the users of the pooler, its reload"
    with connect(lab, "ada", "ada", "changed", port=6432) as ada:
        ada.execute("SELECT 1")
    removed = run(lab)
    assert removed.code == 0, removed.text
    assert lab.ask(host, "systemctl is-active pgbouncer prometheus-postgres-exporter; true") == "inactive\ninactive"
    assert run(lab).changes == 0


@pytest.mark.long
def test_mistakes_in_group_data_stop_it_with_a_message(lab: Lab) -> None:
    missing = run(lab, variables={"SHOP_PASSWORD": "x", "ADA_PASSWORD": "x"})
    assert missing.code == 1, missing.text
    assert "password of backup: environment variable BACKUP_PASSWORD is not set" in missing.text
    assert "Traceback" not in missing.text
    wrong = run(lab, postgres_databases=[{"name": "Shop", "owner": "nobody"}], postgres_clients=["10.0.0.0/33"])
    assert wrong.code == 1, wrong.text
    for expected in ("'Shop' is not allowed", "nobody is not in postgres_roles", "10.0.0.0/33"):
        assert expected in wrong.text
    other = run(lab, postgres_version=17)
    assert other.code == 1, other.text
    assert "the host has a server of PostgreSQL 15, and group data asks for 17." in other.text


@pytest.mark.long
def test_debian_13_works_and_hosts_of_other_groups_stay_unchanged(fresh: Callable[..., Lab]) -> None:
    lab = fresh(2, 13)
    first_run(lab)
    with connect(lab, "shop", "shop") as shop:
        assert shop.info.server_version // 10000 == 17
    assert run(lab).changes == 0
    assert lab.ssh(lab.hosts[0], "ls /etc/postgresql").returncode != 0
