"""The statement that counts the rows of a table."""

from __future__ import annotations

import pytest

from jobs.backup.postgres.counting import copy_statement


@pytest.mark.parametrize(
    ("column", "encoding", "local", "statement"),
    [
        ("id", "UTF8", True, """COPY "public"."orders" ("id") TO '/dev/null' WITH (ENCODING 'UTF8')"""),
        ('a"b', "SQL_ASCII", False, """COPY "public"."orders" ("a""b") TO STDOUT WITH (ENCODING 'SQL_ASCII')"""),
        (None, "x'y", False, """COPY "public"."orders" TO STDOUT WITH (ENCODING 'x''y')"""),
    ],
)
def test_one_column_of_a_table_is_copied_without_a_query(
    column: str | None, encoding: str, local: bool, statement: str
) -> None:
    assert copy_statement('"public"."orders"', column, encoding, local=local) == statement
