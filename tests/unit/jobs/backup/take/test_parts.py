from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.sets.manifest import PartKind
from jobs.backup.take.parts import (
    PlannedPart,
    PlannedRows,
    Table,
    biggest_tables,
    divide_rows,
    pg_dump,
    pg_dumpall,
    plan_parts,
    psql_copy,
)

DUMP = ClientProgram("pg_dump", "/usr/lib/postgresql/15/bin/pg_dump", "15.18")
PSQL = ClientProgram("psql", "/usr/lib/postgresql/15/bin/psql", "15.18")
DUMPALL = ClientProgram("pg_dumpall", "/usr/lib/postgresql/15/bin/pg_dumpall", "15.18")
MINUTE = timedelta(seconds=60)
GIB = 1 << 30


def table(size: int, name: str, oid: int = 1, pages: int = 0, columns: tuple[str, ...] = ("id", "a b")) -> Table:
    return Table(oid, "public", name, size, columns=columns, pages=pages)


def tables(*sizes: float) -> list[Table]:
    return [table(int(size * GIB), f"t{number:02}", number) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "streams", "own_part"),
    [
        ([], 4, []),
        ([9, 1], 1, []),
        ([9, 1], 2, [0]),
        ([1, 9, 5, 5], 2, [1, 2]),
        ([5, 5, 5, 5], 2, [0, 1]),
        ([1] * 40, 4, []),
        ([2] * 10, 4, [0, 1, 2, 3, 4]),
        ([2] * 30, 5, [0, 1, 2, 3, 4, 5]),
        ([0.01, 0.001], 4, []),
    ],
)
def test_the_biggest_tables_get_their_own_part_until_the_rest_is_one_streams_share(
    sizes: list[float], streams: int, own_part: list[int]
) -> None:
    assert [table.oid for table in biggest_tables(tables(*sizes), streams)] == own_part


def test_at_most_twenty_tables_get_their_own_part() -> None:
    assert len(biggest_tables(tables(*[3] * 30), 20)) == 20


def test_a_table_that_psql_cannot_name_stays_in_the_rest() -> None:
    sizes = [("größte", 8), ("plain", 7), ("x", 1)]
    named = [table(size * GIB, name) for name, size in sizes]
    assert [table.name for table in biggest_tables(named, 2)] == ["größte"]
    assert [table.name for table in biggest_tables(named, 2, "LATIN1")] == ["plain", "x"]
    unicode_column = [table(8 * GIB, "big", columns=("größe",)), *named[1:]]
    assert [table.name for table in biggest_tables(unicode_column, 2, "LATIN1")] == ["plain", "x"]
    many_columns = [table(8 * GIB, "big", columns=("long" * 15,) * 1600), *named[1:]]
    assert [table.name for table in biggest_tables(many_columns, 2)] == ["plain", "x"]
    no_columns = [table(8 * GIB, "big", columns=()), *named[1:]]
    assert [table.name for table in biggest_tables(no_columns, 2)] == ["plain", "x"]


@pytest.mark.parametrize(
    ("size", "share", "pages", "expected"),
    [
        (9 * GIB, 10 * GIB, 1000, [(None, None)]),
        (9 * GIB, 9 * GIB / 2, 0, [(None, None)]),
        (9 * GIB, 9 * GIB / 2, 1, [(None, None)]),
        (9 * GIB, 9 * GIB / 2, 1001, [(None, 500), (500, None)]),
        (9 * GIB, 9 * GIB / 4, 2, [(None, 1), (1, None)]),
        (9 * GIB, 4 * GIB, 9, [(None, 3), (3, 6), (6, None)]),
        (9 * GIB, 9 * GIB / 1.05, 1000, [(None, None)]),
        (17 << 20, 1 << 20, 1000, [(None, None)]),
    ],
)
def test_a_table_is_divided_by_pages_into_shares_with_open_ends(
    size: int, share: float, pages: int, expected: list[tuple[int | None, int | None]]
) -> None:
    assert [(rows.first, rows.end) for rows in divide_rows(table(size, "big", pages=pages), share)] == expected


def test_a_table_of_an_owner_who_is_not_trusted_is_not_divided() -> None:
    big = replace(table(9 * GIB, "big", pages=100), trusted=False)
    assert divide_rows(big, 3 * GIB) == [PlannedRows(big, undivided=True)]
    assert divide_rows(big, 9 * GIB) == [PlannedRows(big, undivided=False)]


def test_every_set_has_definitions_the_rest_and_the_roles() -> None:
    assert plan_parts([], 4) == (
        PlannedPart("defs", PartKind.DEFINITIONS),
        PlannedPart("rest", PartKind.REST),
        PlannedPart("roles", PartKind.ROLES),
    )


def test_a_big_table_gets_segments() -> None:
    big, small = table(9 * GIB, "big", pages=100), table(GIB, "small")
    assert plan_parts([big, small], 2)[1:-1] == (
        PlannedPart("rows-1-1", PartKind.SEGMENT, rows=PlannedRows(big, None, 50)),
        PlannedPart("rows-1-2", PartKind.SEGMENT, rows=PlannedRows(big, 50, None)),
        PlannedPart("rest", PartKind.REST, ('"public"."big"',)),
    )


@pytest.mark.parametrize(
    ("schema", "name", "quoted"),
    [
        ("public", "orders", '"public"."orders"'),
        ("Büro", 'Zettel "A". 1', '"Büro"."Zettel ""A"". 1"'),
        ("a.b", "new\nline", '"a.b"."new\nline"'),
        ("東京", "*?$[a]", '"東京"."*?$[a]"'),
    ],
)
def test_quoted_names_contain_no_wildcards(schema: str, name: str, quoted: str) -> None:
    assert Table(1, schema, name).quoted == quoted


def command(part: PlannedPart) -> list[str]:
    return pg_dump(DUMP, "host=db dbname=shop", part, "00000003-0000001B-1", MINUTE)


COMMON = [
    *("/usr/lib/postgresql/15/bin/pg_dump", "--format=custom", "--compress=0"),
    *("--snapshot=00000003-0000001B-1", "--lock-wait-timeout=60000", "--no-password"),
]


@pytest.mark.parametrize(
    ("first", "end", "copy"),
    [
        (None, None, 'COPY "public"."t" ("id", "a b") TO STDOUT'),
        (None, 7, """COPY (SELECT "id", "a b" FROM ONLY "public"."t" WHERE ctid < '(7,0)') TO STDOUT"""),
        (7, None, """COPY (SELECT "id", "a b" FROM ONLY "public"."t" WHERE ctid >= '(7,0)') TO STDOUT"""),
        (
            7,
            9,
            """COPY (SELECT "id", "a b" FROM ONLY "public"."t" WHERE ctid >= '(7,0)' AND ctid < '(9,0)') TO STDOUT""",
        ),
    ],
)
def test_psql_copies_the_rows_of_a_segment(first: int | None, end: int | None, copy: str) -> None:
    rows = PlannedRows(table(1, "t"), first, end)
    settings = ["SET DateStyle = 'ISO'"]
    assert psql_copy(PSQL, "host=db dbname=shop", rows, "00000003-0000001B-1", MINUTE, settings=settings) == [
        *("/usr/lib/postgresql/15/bin/psql", "--no-psqlrc", "--no-password", "--quiet", "--set=VERBOSITY=terse"),
        "--command=BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
        "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'; SET DateStyle = 'ISO'; SET LOCAL lock_timeout = 60000; "
        f'LOCK TABLE ONLY "public"."t" IN ACCESS SHARE MODE; SET LOCAL lock_timeout = 0; {copy}',
        "--dbname=host=db dbname=shop",
    ]


def test_the_rest_has_the_definitions_of_all_tables_and_not_the_rows_of_tables_with_their_own_part() -> None:
    assert command(PlannedPart("rest", PartKind.REST, ('"public"."orders"', '"a"."b"'))) == [
        *COMMON,
        *('--exclude-table-data="public"."orders"', '--exclude-table-data="a"."b"'),
        "--dbname=host=db dbname=shop",
    ]


@pytest.mark.parametrize(("passwords", "flags"), [(True, []), (False, ["--no-role-passwords"])])
def test_roles_are_dumped_without_passwords_if_the_role_cannot_read_them(passwords: bool, flags: list[str]) -> None:
    assert pg_dumpall(DUMPALL, "host=db dbname=shop", "shop", passwords=passwords) == [
        *("/usr/lib/postgresql/15/bin/pg_dumpall", "--roles-only", *flags, "--no-password"),
        *("--database=dbname='shop'", "--dbname=host=db dbname=shop"),
    ]


def test_the_name_of_a_database_is_never_a_connection_string() -> None:
    command = pg_dumpall(DUMPALL, "host=db", "host=evil user='x'", passwords=True)
    assert r"--database=dbname='host=evil user=\'x\''" in command
