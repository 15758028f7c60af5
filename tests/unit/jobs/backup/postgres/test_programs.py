from pathlib import Path

import pytest

from jobs.backup.errors import NoProgram
from jobs.backup.postgres.programs import Program, dumper, installed, restorer, version_in


def programs(name: str, *majors: int) -> list[Program]:
    return [Program(name, f"/usr/lib/postgresql/{major}/bin/{name}", f"{major}.2") for major in majors]


@pytest.mark.parametrize(
    ("server", "found", "chosen"),
    [(13, (13, 15, 16), 13), (14, (13, 15, 16), 15), (16, (18, 16), 16), (17, (15, 18), 18)],
)
def test_the_lowest_pg_dump_that_is_not_below_the_server_is_taken(
    server: int, found: tuple[int, ...], chosen: int
) -> None:
    assert dumper(server, programs("pg_dump", *found)).major == chosen


def test_a_server_too_new_for_every_pg_dump_is_told_with_what_to_install() -> None:
    with pytest.raises(NoProgram, match=r"version 17; install postgresql-client-17 \(found: 13, 15\)"):
        dumper(17, programs("pg_dump", 15, 13))
    with pytest.raises(NoProgram, match=r"\(found: none\)"):
        dumper(17, [])


@pytest.mark.parametrize(
    ("target", "archive", "found", "chosen"),
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
def test_pg_restore_reads_the_archive_and_suits_the_target(
    target: int, archive: int, found: tuple[int, ...], chosen: int
) -> None:
    assert restorer(target, archive, programs("pg_restore", *found)).major == chosen


@pytest.mark.parametrize(
    ("target", "archive", "found", "sentence"),
    [
        (16, 16, (15, 18), "install postgresql-client-16 (found: 15, 18)"),
        (16, 18, (16, 18), "restore into a server of version 18 or newer"),
        (15, 16, (15, 18), "install postgresql-client-16"),
        (18, 17, (15, 16), "install postgresql-client-18"),
    ],
)
def test_no_pg_restore_that_fits_is_told_with_the_way_out(
    target: int, archive: int, found: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(NoProgram) as told:
        restorer(target, archive, programs("pg_restore", *found))
    assert sentence in str(told.value)


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", "15.18"),
        ("pg_dump (PostgreSQL) 18beta1", "18"),
        ("error: no such cluster", None),
    ],
)
def test_the_version_is_read_from_the_program(answer: str, version: str | None) -> None:
    assert version_in(answer) == version


def test_programs_of_this_machine_are_found_once_each_and_no_wrapper_is_among_them() -> None:
    found = installed("pg_dump")
    assert {16, 18} <= {program.major for program in found}
    assert len({program.path for program in found}) == len(found)
    assert all(Path(program.path).resolve().name == "pg_dump" for program in found)
