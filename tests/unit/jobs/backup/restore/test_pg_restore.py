from pathlib import Path

import pytest

from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.restore.pg_restore import (
    DefinitionOptions,
    IndexSettings,
    constraint_lists,
    copied_rows,
    copy_in_command,
    definitions_command,
    list_command,
    rows_command,
    script_command,
)
from jobs.backup.sets.segments import Segment

PROGRAM = ClientProgram("pg_restore", "/usr/lib/postgresql/15/bin/pg_restore", "15.18")
ARCHIVE, LIST = Path("/tmp/defs"), Path("/tmp/list")


def test_restores_definitions_from_a_file() -> None:
    assert definitions_command(PROGRAM, "host=db dbname=shop", "pre-data", ARCHIVE, DefinitionOptions()) == [
        "/usr/lib/postgresql/15/bin/pg_restore", "--exit-on-error", "--no-password", "--section=pre-data",
        "--dbname=host=db dbname=shop", "/tmp/defs",
    ]  # fmt: skip


def test_restores_indexes_in_parallel() -> None:
    options = DefinitionOptions()
    assert definitions_command(PROGRAM, "dbname=shop", "post-data", ARCHIVE, options, jobs=4, use_list=LIST) == [
        "/usr/lib/postgresql/15/bin/pg_restore", "--exit-on-error", "--no-password", "--use-list=/tmp/list",
        "--section=post-data", "--jobs=4", "--dbname=dbname=shop", "/tmp/defs",
    ]  # fmt: skip


def test_restores_rows_from_stdin_without_what_the_target_cannot_have() -> None:
    options = DefinitionOptions(owners=False, privileges=False, tablespaces=False, subscriptions=False)
    assert rows_command(PROGRAM, "dbname=shop", options) == [
        "/usr/lib/postgresql/15/bin/pg_restore", "--exit-on-error", "--no-password", "--section=data",
        "--no-owner", "--no-privileges", "--no-tablespaces", "--no-subscriptions", "--dbname=dbname=shop",
    ]  # fmt: skip


def test_lists_an_archive_and_prints_its_sql() -> None:
    assert list_command(PROGRAM) == ["/usr/lib/postgresql/15/bin/pg_restore", "--list"]
    assert script_command(PROGRAM, ARCHIVE) == [
        "/usr/lib/postgresql/15/bin/pg_restore", "--verbose",
        "--section=pre-data", "--section=post-data", "--file=-", "/tmp/defs",
    ]  # fmt: skip


def listed(*entries: str) -> str:
    return ";\n; Archive created at 2026-11-21\n;\n" + "".join(
        f"{number}; 2606 1 {entry} owner\n" for number, entry in enumerate(entries, 10)
    )


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((), [[]]),
        (("TABLE public a", "CONSTRAINT public a a_pkey", "FK CONSTRAINT public a a_b_fkey"), [[10, 11, 12]]),
        (("CONSTRAINT public a a_pkey", "INDEX ATTACH public a_1_pkey"), [[10, 11]]),
        (
            (
                "INDEX ATTACH public a_1_pkey",
                "FK CONSTRAINT public a f",
                "COMMENT public CONSTRAINT f ON a",
                "POLICY public a p",
            ),
            [[10], [11, 12, 13]],
        ),
        (
            (
                *("EVENT TRIGGER - e", "ROW SECURITY public a", "INDEX ATTACH public a_1_pkey"),
                *("FK CONSTRAINT public a f", "COMMENT - EVENT TRIGGER e", "MATERIALIZED VIEW DATA public m"),
            ),
            [[12], [13, 15], [10, 11, 14]],
        ),
        (("EVENT TRIGGER - e", "POLICY public a p"), [[10, 11]]),
    ],
)
def test_foreign_keys_of_partitioned_tables_come_late_and_row_security_last(
    entries: tuple[str, ...], expected: list[list[int]]
) -> None:
    assert constraint_lists(listed(*entries)) == expected


@pytest.mark.parametrize(("newer", "timeout"), [(False, ""), (True, "SET transaction_timeout = 0; ")])
def test_psql_executes_our_statements_and_gets_the_rows_on_stdin(newer: bool, timeout: str) -> None:
    psql = ClientProgram("psql", "/bin/psql", "18.1")
    segment = Segment("public", 'the "orders"', ("id", "a b"), "UTF8", 7)
    assert copy_in_command(psql, "dbname=shop", segment, has_transaction_timeout=newer) == [
        *("/bin/psql", "--no-psqlrc", "--no-password", "--set=VERBOSITY=terse", "--set=ON_ERROR_STOP=1"),
        "--command=SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
        f"{timeout}SET xmloption = content; SET row_security = off",
        '--command=COPY "public"."the ""orders""" ("id", "a b") FROM stdin',
        "--dbname=dbname=shop",
    ]


@pytest.mark.parametrize(("printed", "rows"), [("SET\nSET\nCOPY 7\n", 7), ("SET\n", None), ("", None)])
def test_psql_prints_how_many_rows_it_has_restored(printed: str, rows: int | None) -> None:
    assert copied_rows(printed) == rows


MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("settings", "streams", "memory", "workers"),
    [
        (IndexSettings(64 * MIB, 128 * MIB, 2, 8), 3, 256 * MIB, 2),
        (IndexSettings(64 * MIB, 6 * GIB, 2, 16), 4, 768 * MIB, 4),
        (IndexSettings(64 * MIB, 64 * GIB, 2, 8), 2, GIB, 4),
        (IndexSettings(2 * GIB, 6 * GIB, 8, 8), 4, 2 * GIB, 8),
        (IndexSettings(64 * MIB, 128 * MIB, 0, 0), 1, 256 * MIB, 0),
    ],
)
def test_indexes_get_as_much_as_the_server_can_spend(
    settings: IndexSettings, streams: int, memory: int, workers: int
) -> None:
    assert settings.options(streams) == (
        f"-c maintenance_work_mem={memory // 1024}kB -c max_parallel_maintenance_workers={workers}"
    )
