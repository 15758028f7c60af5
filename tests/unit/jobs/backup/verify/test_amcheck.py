"""How pg_amcheck is called, and what its output says."""

from __future__ import annotations

import pytest

from jobs.backup.postgres.connection import Endpoint
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.restore.compare import Difference, difference_text
from jobs.backup.verify.amcheck import amcheck_command, parse_findings, pg_amcheck_for

OUTPUT = """\
btree index "shop.public.orders_pkey":
    ERROR:  item order invariant violated for index "orders_pkey"
    DETAIL:  Lower index tid=(1,1) \x1b[31m
heap table "shop.public.orders", block 1, offset 3, attribute 2:
    attribute 2 with length 4294967295 ends at offset 50 beyond total tuple length 43
"""


def test_findings() -> None:
    index, table = parse_findings(OUTPUT)
    assert index == Difference(
        "amcheck",
        'btree index "shop.public.orders_pkey"',
        None,
        2,
        ('ERROR:  item order invariant violated for index "orders_pkey"', "DETAIL:  Lower index tid=(1,1) \\x1b[31m"),
    )
    assert difference_text(table) == 'amcheck heap table "shop.public.orders", block 1, offset 3, attribute 2: 1 fault'
    assert list(parse_findings("")) == []


@pytest.mark.parametrize(("indexes", "more"), [(True, []), (False, ["--no-dependent-indexes", "--exclude-index=*"])])
def test_the_name_of_a_database_is_no_pattern_and_no_address(indexes: bool, more: list[str]) -> None:
    endpoint = Endpoint({"host": "/s", "port": "5", "user": "postgres", "dbname": 'host=evil "*'}, "a password")
    assert amcheck_command("/bin/pg_amcheck", endpoint, indexes=indexes) == [
        "/bin/pg_amcheck", "--host=/s", "--port=5", "--username=postgres", "--no-password", "--install-missing",
        "--jobs=2", *more, '--database="host=evil ""*"',
    ]  # fmt: skip


def test_the_program_of_the_same_version_is_preferred_to_a_newer_one() -> None:
    newer, same = (ClientProgram("pg_amcheck", f"/{major}/pg_amcheck", f"{major}.1") for major in (18, 15))
    assert pg_amcheck_for(15, [newer, same]) == "/15/pg_amcheck"
    assert pg_amcheck_for(16, [newer, same]) == "/18/pg_amcheck"
    assert pg_amcheck_for(15, []) == ""
    assert pg_amcheck_for(13, [newer]) == ""
