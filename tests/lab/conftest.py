"""Hosts for tests: `fresh(3)` for one test, `prepared(…)` for all tests that need the same deploy first."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import lab, rootfs
from tests.lab.lab import Lab
from tests.parts import memory
from tests.parts.group import group


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let hosts end with the last test that needs them: their timers and clusters use the processor."""
    if nextitem is None or group(nextitem.nodeid) != group(item.nodeid):
        lab.unbind()


def _new_folder() -> Path:
    return (memory.folder() or rootfs.CACHE) / f"crew-lab-{secrets.token_hex(4)}"


@pytest.fixture
def fresh() -> Iterator[Callable[..., Lab]]:
    """`fresh(3)` boots three new hosts, `fresh(debian=13)` one with Debian 13."""
    with ExitStack() as there:

        def boot(count: int = 1, debian: int = 12) -> Lab:
            made = lab.up(_new_folder(), count, debian, bound=True)
            there.callback(lab.down, made.folder)
            return made

        yield boot


@pytest.fixture
def prepared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """`prepared("dev", 1, deploy)` returns hosts on which `deploy` ran once. Tests use them one at a time."""
    everybody = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        everybody = everybody.parent
    with ExitStack() as until_done:

        def boot(name: str, count: int, prepare: Callable[[Lab], object]) -> Lab:
            lock = until_done.enter_context((everybody / f"{name}.lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _standing(everybody / name) or _prepare(everybody / name, count, prepare)

        yield boot


def _standing(pointer: Path) -> Lab | None:
    """The lab that another test prepared, if it still runs."""
    if not pointer.is_symlink():
        return None
    folder = pointer.readlink()
    return lab.read(folder) if (folder / "lab.json").exists() and lab.bind(folder) else None


def _prepare(pointer: Path, count: int, prepare: Callable[[Lab], object]) -> Lab:
    made = lab.up(_new_folder(), count, bound=True)
    try:
        prepare(made)
    except BaseException:
        lab.down(made.folder)
        raise
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(made.folder)
    return made
