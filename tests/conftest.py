"""The servers that tests run against: started when a test first asks for one, stopped with the test run."""

from __future__ import annotations

import gc
import os
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from inventories import secret
from jobs.embedded import S3Server
from jobs.embedded import seaweed as start_seaweed
from tests.parts import memory, needs, s3, terraform
from tests.parts import postgres as servers
from tests.parts.group import group
from tests.parts.proxy import Proxy

TESTS = Path(__file__).parent
IN_CI = os.environ.get("CI") == "true"
FOREIGN = ("AWS_", "PG", "CREW_", "GROUNDCREW__", "TF_", "KUBE")  # settings of the person who runs the tests
LEFT_OUT = pytest.StashKey[Counter[str]]()
HANGS = "3000"  # seconds after which a test hangs: on a busy machine the longest test takes half of it
SLOW = (  # files and folders that start first; test_lab.py makes what hosts boot from, which takes a minute
    "integration/terraform/test_staging.py",
    "lab/test_lab.py",
    "integration/terraform/test_failures.py",
    "integration/test_readme.py",
    "lab/test_k3s.py",
    "lab/test_k3s_apps.py",
    "lab/test_k3s_reset.py",
    "lab/test_k3s_restore.py",
    "lab/test_k3s_upgrade.py",
    "lab/test_job_runner.py",
    "lab/test_pitr.py",
    "lab/test_standby.py",
    "lab",
    "integration/terraform",
    "integration/jobs/cost",
    "integration",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use two workers for each core, since tests wait for servers and hosts half of the time; at most four.

    Unit tests hardly wait, and each worker has to collect all of them, so one worker more than cores is enough.
    """
    cores = os.cpu_count() or 1
    only_unit = all(Path(argument).resolve().is_relative_to(TESTS / "unit") for argument in config.args)
    return min(4, cores + 1 if only_unit else 2 * cores)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file on one worker, and those that use the same five hosts: they run one at a time."""
    from xdist.scheduler import LoadFileScheduling

    class ByHosts(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return ByHosts(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.register_profile("patient", deadline=None)  # an example may take long on a busy machine
    hypothesis.settings.load_profile("patient")
    os.environ.setdefault("PYTEST_TIMEOUT", HANGS)  # pytest-timeout reads it, and pytest runs without that plugin too
    os.environ.setdefault(terraform.MACHINE_SETTINGS, os.environ.get("TF_CLI_CONFIG_FILE", ""))
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    memory.write_there()
    os.environ["PATH"] = servers.path(os.environ["PATH"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes its background jobs ignore it


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector away from the thousands of collected tests, which stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run slow tests first. Leave out the tests that cannot run on this machine; in CI they fail instead."""
    items.sort(key=lambda item: _turn(item.path))
    missing = {item: parts[0] for item in items if (parts := needs.missing(item))}
    if IN_CI:
        missing = {item: part for item, part in missing.items() if part in needs.EVEN_IN_CI}
    items[:] = [item for item in items if item not in missing]
    config.stash[LEFT_OUT] = Counter(missing.values())
    config.hook.pytest_deselected(items=list(missing))
    if hasattr(config, "workeroutput"):  # one of several workers, all of which collect the same tests
        config.workeroutput["left_out"] = dict(config.stash[LEFT_OUT])


@cache
def _turn(path: Path) -> int:
    """The place of a test's folder or file in SLOW, so that no worker starts with a slow test when others end."""
    return next((turn for turn, slow in enumerate(SLOW) if path.is_relative_to(TESTS / slow)), len(SLOW))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Pass on what a worker left out to the process that prints the summary."""
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = Counter(config.stash.get(LEFT_OUT, Counter()))
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    left_out += Counter(text.removeprefix("Skipped: needs ") for text in reasons if text.startswith("Skipped: needs "))
    if left_out:
        terminalreporter.write_sep("=", "left out on this machine")
        for part, count in left_out.most_common():
            terminalreporter.write_line(f"{count:>5} tests need {part}: {needs.why_missing(part)}")
        terminalreporter.write_line("As root on Debian or Ubuntu, `make setup` installs what is missing.")


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor write your own files, such as ~/.aws, ~/.pgpass and ~/.kube."""
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test starts without the secrets that another one made known to the log filter."""
    monkeypatch.setattr(secret, "_hidden", set())
    monkeypatch.setattr(secret, "_values", set())
    monkeypatch.setattr(secret, "_pattern", None)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], servers.Server]]:
    """`postgres(15)` is the shared server of that major version. To break one: tests.parts.postgres.start."""
    with ExitStack() as running:

        @cache
        def server(major: int) -> servers.Server:
            needs.leave_out_without(f"postgres-{major}")
            return running.enter_context(servers.start(major, tmp_path_factory.mktemp(f"postgres-{major}")))

        yield server


@pytest.fixture
def database(postgres: Callable[[int], servers.Server]) -> Iterator[Callable[..., servers.Database]]:
    """`database(15)` is a new, empty database, `database(15, "name")` one of that name; dropped after the test."""
    with ExitStack() as databases:

        def new(major: int, name: str = "") -> servers.Database:
            return databases.enter_context(servers.fresh(postgres(major), name or f"test_{secrets.token_hex(4)}"))

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
    return _with_credentials(s3.new_bucket(_seaweed.endpoint, _seaweed.key, _seaweed.secret), monkeypatch)


@pytest.fixture
def moto(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    """A new bucket on the AWS emulator; its credentials are in the environment."""
    return _with_credentials(s3.new_bucket(moto_server), monkeypatch)


@pytest.fixture
def rclone_s3(_rclone: str, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    """A new bucket on a server that ignores conditions on writes; its credentials are in the environment."""
    return _with_credentials(s3.new_bucket(_rclone), monkeypatch)


def _with_credentials(bucket: s3.Bucket, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return bucket


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """`proxy(bucket.target)` or `proxy(server.target, http=False)` forwards, and misbehaves on request."""
    with ExitStack() as between:

        def new(target: tuple[str, int], *, http: bool = True) -> Proxy:
            made = Proxy(target, http=http)
            between.callback(made.close)
            return made

        yield new
