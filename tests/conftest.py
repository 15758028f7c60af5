"""The real parts that tests run against: started when first asked for, stopped with the test run."""

from __future__ import annotations

import os
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from inventories import secret
from jobs.embedded import S3Server
from jobs.embedded import seaweed as start_seaweed
from tests.parts import needs, s3
from tests.parts import postgres as servers
from tests.parts.proxy import Proxy

IN_CI = os.environ.get("CI") == "true"
FOREIGN = ("AWS_", "PG", "CREW_", "GROUNDCREW__", "TF_", "KUBE")  # settings of who runs the tests, not of the tests
LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(part): what the test wants of this machine, see tests/parts/needs.py")
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what it starts with & ignore it


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what can't run here; in CI it is to fail instead."""
    if IN_CI:
        return
    missing = {item: part for item in items for part in needs.missing(item)}
    items[:] = [item for item in items if item not in missing]
    config.stash[LEFT_OUT] = Counter(missing.values())
    config.hook.pytest_deselected(items=list(missing))
    if hasattr(config, "workeroutput"):  # one of several workers, who all collect the same
        config.workeroutput["left_out"] = dict(config.stash[LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker left out is told by who sums up."""
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash.get(LEFT_OUT, Counter())
    if left_out:
        told = ", ".join(f"{count} for want of {part}" for part, count in sorted(left_out.items()))
        terminalreporter.write_line(f"Left out: {told}; `make setup` as root on Debian installs what is missing.")


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the files of who runs it: ~/.aws, ~/.pgpass, ~/.kube."""
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test revealed is hidden for the whole program; the next test starts as a program does."""
    monkeypatch.setattr(secret, "_hidden", set())
    monkeypatch.setattr(secret, "_pattern", None)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], servers.Server]]:
    """`postgres(15)` is the shared server of that major version. To stop or break one: tests.parts.postgres.start."""
    with ExitStack() as running:

        @cache
        def server(major: int) -> servers.Server:
            return running.enter_context(servers.start(major, tmp_path_factory.mktemp(f"postgres-{major}")))

        yield server


@pytest.fixture
def database(postgres: Callable[[int], servers.Server]) -> Iterator[Callable[..., servers.Database]]:
    """`database(15)` is a new, empty database, `database(15, "name")` one of that name; dropped after the test."""
    with ExitStack() as there:

        def new(major: int, name: str = "") -> servers.Database:
            return there.enter_context(servers.fresh(postgres(major), name or f"test_{secrets.token_hex(4)}"))

        yield new


@pytest.fixture(scope="session")
def _seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with start_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an AWS emulator."""
    with s3.moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def _rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3.rclone(tmp_path_factory.mktemp("rclone")) as endpoint:
        yield endpoint


@pytest.fixture
def seaweed(_seaweed: S3Server, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    """A new bucket on SeaweedFS; its credentials are in the environment."""
    return _known(s3.new_bucket(_seaweed.endpoint, _seaweed.key, _seaweed.secret), monkeypatch)


@pytest.fixture
def moto(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    """A new bucket on the AWS emulator; its credentials are in the environment."""
    return _known(s3.new_bucket(moto_server), monkeypatch)


@pytest.fixture
def rclone_s3(_rclone: str, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    """A new bucket on a server that ignores conditions on writes; its credentials are in the environment."""
    return _known(s3.new_bucket(_rclone), monkeypatch)


def _known(bucket: s3.Bucket, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return bucket


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """`proxy(bucket.target)` or `proxy(server.target, http=False)`: something between that can misbehave."""
    with ExitStack() as between:

        def new(target: tuple[str, int], *, http: bool = True) -> Proxy:
            made = Proxy(target, http=http)
            between.callback(made.close)
            return made

        yield new
