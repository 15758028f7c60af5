from datetime import timedelta

import pytest

from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.sets.manifest import PartKind
from jobs.backup.take.parts import PlannedPart, Table, biggest_tables, pg_dump, pg_dumpall, plan_parts

DUMP = ClientProgram("pg_dump", "/usr/lib/postgresql/15/bin/pg_dump", "15.18")
DUMPALL = ClientProgram("pg_dumpall", "/usr/lib/postgresql/15/bin/pg_dumpall", "15.18")
MINUTE = timedelta(seconds=60)
GIB = 1 << 30


def tables(*sizes: float) -> list[Table]:
    return [Table(number, "public", f"t{number:02}", int(size * GIB)) for number, size in enumerate(sizes)]


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


def test_a_name_that_cannot_be_passed_to_pg_dump_stays_in_the_rest() -> None:
    named = [Table(1, "public", "größte", 8 * GIB), Table(2, "public", "plain", 7 * GIB), Table(3, "public", "x", GIB)]
    assert [table.name for table in biggest_tables(named, 2)] == ["größte"]
    assert [table.name for table in biggest_tables(named, 2, "LATIN1")] == ["plain", "x"]


def test_every_set_has_definitions_the_rest_and_the_roles() -> None:
    assert plan_parts([], 4) == (
        PlannedPart("defs", PartKind.DEFINITIONS),
        PlannedPart("rest", PartKind.REST),
        PlannedPart("roles", PartKind.ROLES),
    )
    assert plan_parts(tables(9, 1), 2)[1:3] == (
        PlannedPart("data-1", PartKind.TABLE, ('"public"."t00"',)),
        PlannedPart("rest", PartKind.REST, ('"public"."t00"',)),
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


def test_a_table_part_fails_if_the_table_is_missing() -> None:
    assert command(PlannedPart("data-1", PartKind.TABLE, ('"public"."orders"',))) == [
        *COMMON,
        *("--section=data", "--strict-names", '--table="public"."orders"', "--dbname=host=db dbname=shop"),
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
