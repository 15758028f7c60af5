"""Databases behind a tunnel: ssh and kubectl port-forward."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.backup.take import take
from jobs.run import RunTimeouts
from jobs.run.job import Outcome
from tests.parts import kubectl
from tests.parts.backups import Team, section, team
from tests.parts.needs import needs
from tests.parts.patience import until
from tests.parts.postgres import Database
from tests.parts.runs import code_of, process
from tests.parts.sshd import Bastion, sshd

New = Callable[..., Database]

ROWS = "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 8) body FROM generate_series(1, 40000) n"
AGAIN = RunTimeouts(work_retries=(0.2, 0.5), store_retries=(0.01,), kill_after=0.5, abandon_after=5)

pytestmark = needs("sshd")


@pytest.fixture
def shop(database: New) -> Database:
    created = database(16)
    created.run(ROWS)
    return created


@pytest.fixture
def bastion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bastion]:
    folder = tmp_path / "bastion"
    folder.mkdir()
    with sshd(folder) as running:
        monkeypatch.setenv("PATH", f"{running.programs}:{os.environ['PATH']}")
        yield running


def tunnelled_team(folder: Path, shop: Database, via: str, url: str = "") -> Team:
    (folder / "team").mkdir()
    return team(folder / "team", section("shop", url or shop.url, f"via = {via}"))


def tunnels(bastion: Bastion) -> list[int]:
    """Return the processes of tunnels through this test's bastion."""
    config = str(bastion.programs.with_name("config"))
    return [pid for pid, line in commands() if "-L" in line and config in line]


def forwards(shop: Database) -> list[int]:
    """Return the processes of the kubectl stand-in that forward to this test's server."""
    port = f":{shop.server.port}"
    return [pid for pid, line in commands() if kubectl.__file__ in line and line[-1].endswith(port)]


def commands() -> Iterator[tuple[int, list[str]]]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield int(file.parent.name), file.read_text().rstrip("\0").split("\0")


def test_a_backup_through_ssh(shop: Database, bastion: Bastion, tmp_path: Path) -> None:
    staging = tunnelled_team(tmp_path, shop, '{ ssh = "bastion" }')
    assert staging.take().outcome is Outcome.DONE
    assert staging.description().rows == 40_000
    until(lambda: not tunnels(bastion))


def test_a_backup_through_ssh_to_a_unix_socket(shop: Database, bastion: Bastion, tmp_path: Path) -> None:
    staging = tunnelled_team(tmp_path, shop, '{ ssh = "bastion" }', url=shop.server.socket_url(shop.name))
    record = staging.take()
    assert record.outcome is Outcome.DONE, record.sentence


def test_an_ssh_login_that_is_refused_fails_the_backup(shop: Database, bastion: Bastion, tmp_path: Path) -> None:
    (tmp_path / "bastion" / "user.pub").write_text("")
    record = tunnelled_team(tmp_path, shop, '{ ssh = "bastion" }').take()
    assert "the tunnel ended before it was ready: " in record.sentence
    assert "Permission denied (publickey)" in record.sentence


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("via", ['{ ssh = "bastion" }', '{ kubernetes = "shop/pod/db-0" }'])
def test_a_broken_tunnel_fails_the_backup_which_is_retried(
    shop: Database, bastion: Bastion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, via: str
) -> None:
    real = take.pg_dump
    monkeypatch.setattr(take, "pg_dump", lambda *args: ["sh", "-c", 'sleep 1; exec "$@"', "late", *real(*args)])
    staging = tunnelled_team(tmp_path, shop, via)

    def retried() -> int:
        record = staging.take(timeouts=AGAIN)
        return 0 if record.outcome is Outcome.DONE and record.attempts == 2 else 1

    with process(retried) as pid:
        until(lambda: list(staging.store.open_uploads("staging/backups/")))
        broken = [*tunnels(bastion), *forwards(shop)]
        assert len(broken) == 1
        os.kill(broken[0], signal.SIGKILL)
        assert code_of(pid) == 0
    assert staging.description().rows == 40_000


def test_the_tunnel_ends_when_the_runner_is_killed(shop: Database, bastion: Bastion, tmp_path: Path) -> None:
    staging = tunnelled_team(tmp_path, shop, '{ ssh = "bastion" }')
    with process(lambda: 0 if staging.take() else 1) as pid:
        until(lambda: tunnels(bastion))
        os.kill(pid, signal.SIGKILL)
        code_of(pid)
    until(lambda: not tunnels(bastion), seconds=5)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").write_text(f'#!/bin/sh\nexec {sys.executable} {kubectl.__file__} "$@"\n')
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv(
        "KUBECTL_KNOWS",
        "--context=prod--namespace=shopstatefulset/db --namespace=shopservice/db --namespace=shoppod/db-0",
    )


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "via",
    [
        '{ kubernetes = "shop/statefulset/db", context = "prod" }',
        '{ kubernetes = "shop/service/db" }',
        '{ kubernetes = "shop/pod/db-0" }',
    ],
)
def test_a_backup_through_kubectl(shop: Database, tmp_path: Path, via: str) -> None:
    staging = tunnelled_team(tmp_path, shop, via)
    record = staging.take()
    assert record.outcome is Outcome.DONE, record.sentence


@pytest.mark.usefixtures("cluster")
def test_a_missing_service_fails_the_backup(shop: Database, tmp_path: Path) -> None:
    record = tunnelled_team(tmp_path, shop, '{ kubernetes = "shop/service/nope" }').take()
    assert (
        'the tunnel ended before it was ready: Error from server (NotFound): "service/nope" not found'
        in record.sentence
    )


def test_a_missing_tunnel_program_is_named(shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    staging = tunnelled_team(tmp_path, shop, '{ kubernetes = "shop/service/db" }')
    assert "kubectl is not installed on this machine" in staging.take().sentence


def test_a_restore_through_ssh(shop: Database, database: New, bastion: Bastion, tmp_path: Path) -> None:
    staging = tunnelled_team(tmp_path, shop, '{ ssh = "bastion" }')
    assert staging.take().outcome is Outcome.DONE
    target = database(16)
    into = target.url.replace("postgres@", f"postgres:{target.password.replace(' ', '%20')}@")
    restored = staging.crew("backups", "restore", "staging", "shop", "--into", into, "--via", "ssh=bastion")
    assert restored.returncode == 0, restored.stderr
    assert target.ask("SELECT count(*) FROM wide") == [(40_000,)]
    until(lambda: not tunnels(bastion))
