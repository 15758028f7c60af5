"""The statement that counts the rows of a table."""

from __future__ import annotations

import pytest

from jobs.backup.postgres.counting import copy_statement


@pytest.mark.parametrize(
    ("column", "local", "statement"),
    [
        ("id", True, """COPY "public"."orders" ("id") TO '/dev/null'"""),
        ('a"b', False, 'COPY "public"."orders" ("a""b") TO STDOUT'),
        (None, False, 'COPY "public"."orders" TO STDOUT'),
    ],
)
def test_one_column_of_a_table_is_copied_without_a_query(column: str | None, local: bool, statement: str) -> None:
    assert copy_statement('"public"."orders"', column, local=local) == statement
