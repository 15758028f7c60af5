"""Connections work as with psql: sockets, .pgpass, services, TLS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.run.job import Outcome
from tests.parts import postgres as servers
from tests.parts.backups import team
from tests.parts.needs import needs
from tests.parts.postgres import DISTRIBUTION, Database, Server
from tests.parts.sshd import sshd

New = Callable[..., Database]
MAJOR = max(DISTRIBUTION, default=15)
"""A server whose client programs know TLS: those of pip do not."""


@pytest.fixture
def shop(database: New) -> Database:
    created = database(MAJOR)
    created.run("CREATE TABLE a AS SELECT generate_series(1, 10) n")
    return created


def backup_result(folder: Path, url: str, *lines: str) -> str:
    """Return "done" or the error of a backup of this URL, without a password in the file."""
    body = "\n".join(["[databases.shop]", f'url = "{url}"', *lines, ""])
    staging = team(folder, body)
    record = staging.take()
    return "done" if record.outcome is Outcome.DONE and staging.description().rows == 10 else record.sentence


def test_a_socket_and_a_password_file_work(shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", str(shop.server.passfile))
    assert backup_result(tmp_path, shop.server.socket_url(shop.name)) == "done"


def test_the_password_file_in_the_home_folder_works(shop: Database, tmp_path: Path) -> None:
    """libpq looks in HOME first, then in the home folder of the account."""
    file = Path(os.environ["HOME"], ".pgpass")
    file.touch(0o600)
    file.write_text(f"127.0.0.1:{shop.server.port}:*:postgres:{shop.password}\n")
    try:
        assert backup_result(tmp_path, shop.url) == "done"
    finally:
        file.unlink()


def test_a_missing_password_is_an_error_with_the_remedy(shop: Database, tmp_path: Path) -> None:
    assert "no password supplied; set one: password = { env, file or command }" in backup_result(tmp_path, shop.url)


def test_a_service_works(shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = tmp_path / "services"
    service.write_text(f"[shop]\nhost=127.0.0.1\nport={shop.server.port}\nuser=postgres\ndbname={shop.name}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    monkeypatch.setenv("PGPASSFILE", str(shop.server.passfile))
    assert backup_result(tmp_path, f"postgresql:///{shop.name}?service=shop") == "done"


def test_the_process_environment_does_not_change_a_dump(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run("CREATE TABLE \"東京\" AS SELECT '渋谷' t WHERE false")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGPASSFILE", str(shop.server.passfile))
    assert backup_result(tmp_path, shop.url) == "done"


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate for localhost, and the file of the certificate."""
    folder = tmp_path_factory.mktemp("tls")
    folder.chmod(0o755)
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    key, certificate = folder / "key", folder / "certificate"
    subprocess.run(
        [*openssl, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o640)  # PostgreSQL requires root or its own account as the owner
    if os.geteuid() == 0:
        import grp
        import pwd

        account = pwd.getpwnam("postgres")
        os.chown(key, 0, account.pw_gid)
        assert grp.getgrgid(account.pw_gid)
    else:
        key.chmod(0o600)
    settings = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    with servers.start(MAJOR, folder, settings) as server:
        with server.connect() as connection:
            connection.execute("CREATE TABLE a AS SELECT generate_series(1, 10) n")
        yield server, certificate


@needs(f"postgres-{MAJOR}", "openssl")
def test_certificates_are_checked(
    with_tls: tuple[Server, Path], shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, certificate = with_tls
    monkeypatch.setenv("PGPASSFILE", str(server.passfile))
    full = f"?sslmode=verify-full&sslrootcert={certificate}"
    for number, (url, expected) in enumerate(
        [
            (f"postgresql://postgres@localhost:{server.port}/postgres{full}", "done"),
            (f"postgresql://postgres@127.0.0.1:{server.port}/postgres{full}", "does not match host name"),
            (f"{shop.url}?sslmode=require", "server does not support SSL"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert expected in backup_result(folder, url)


@needs(f"postgres-{MAJOR}", "openssl", "sshd")
def test_certificates_are_checked_by_host_name_through_a_tunnel(
    with_tls: tuple[Server, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, certificate = with_tls
    monkeypatch.setenv("PGPASSFILE", str(server.passfile))
    (tmp_path / "bastion").mkdir()
    with sshd(tmp_path / "bastion") as bastion:
        monkeypatch.setenv("PATH", f"{bastion.programs}:{os.environ['PATH']}")
        for host, expected in (("localhost", "done"), ("127.0.0.1", "does not match host name")):
            folder = tmp_path / host
            folder.mkdir()
            url = f"postgresql://postgres@{host}:{server.port}/postgres?sslmode=verify-full&sslrootcert={certificate}"
            assert expected in backup_result(folder, url, 'via = { ssh = "bastion" }')
