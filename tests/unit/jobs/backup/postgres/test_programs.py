from pathlib import Path

import pytest

from jobs.backup.errors import NoProgram
from jobs.backup.postgres.programs import (
    ClientProgram,
    dump_program,
    installed_clients,
    parse_client_version,
    restore_program,
)


def programs(name: str, *majors: int) -> list[ClientProgram]:
    return [ClientProgram(name, f"/usr/lib/postgresql/{major}/bin/{name}", f"{major}.2") for major in majors]


@pytest.mark.parametrize(
    ("server", "installed", "chosen"),
    [(13, (13, 15, 16), 13), (14, (13, 15, 16), 15), (16, (18, 16), 16), (17, (15, 18), 18)],
)
def test_the_lowest_pg_dump_that_can_dump_the_server_is_chosen(
    server: int, installed: tuple[int, ...], chosen: int
) -> None:
    assert dump_program(server, programs("pg_dump", *installed)).major == chosen


def test_without_a_pg_dump_that_is_new_enough_the_error_names_the_package() -> None:
    with pytest.raises(NoProgram, match=r"PostgreSQL 17 server; install postgresql-client-17 \(found: 13, 15\)"):
        dump_program(17, programs("pg_dump", 15, 13))
    with pytest.raises(NoProgram, match=r"\(found: none\)"):
        dump_program(17, [])


@pytest.mark.parametrize(
    ("target", "archive", "installed", "chosen"),
    [
        (16, 16, (15, 16, 18), 16),
        (18, 15, (15, 16), 16),
        (13, 15, (15, 16, 18), 15),
        (15, 13, (13,), 13),
        (18, 17, (16, 17, 18), 18),
        (17, 18, (17, 18), 17),
        (15, 16, (15, 16), 16),
    ],
)
def test_the_chosen_pg_restore_reads_the_archive_and_fits_the_target(
    target: int, archive: int, installed: tuple[int, ...], chosen: int
) -> None:
    assert restore_program(target, archive, programs("pg_restore", *installed)).major == chosen


@pytest.mark.parametrize(
    ("target", "archive", "installed", "sentence"),
    [
        (16, 16, (15, 18), "install postgresql-client-16 (found: 15, 18)"),
        (16, 18, (16, 18), "restore into PostgreSQL 18 or newer"),
        (15, 16, (15, 18), "install postgresql-client-16"),
        (18, 17, (15, 16), "install postgresql-client-18"),
    ],
)
def test_without_a_pg_restore_that_fits_the_error_has_the_remedy(
    target: int, archive: int, installed: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(NoProgram) as raised:
        restore_program(target, archive, programs("pg_restore", *installed))
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", "15.18"),
        ("pg_dump (PostgreSQL) 18beta1", "18"),
        ("error: no such cluster", None),
    ],
)
def test_the_version_is_parsed_from_the_output(output: str, version: str | None) -> None:
    assert parse_client_version(output) == version


def test_each_installed_program_is_listed_once_and_wrappers_are_not() -> None:
    programs_here = installed_clients("pg_dump")
    assert {16, 18} <= {program.major for program in programs_here}
    assert len({program.path for program in programs_here}) == len(programs_here)
    assert all(Path(program.path).resolve().name == "pg_dump" for program in programs_here)
