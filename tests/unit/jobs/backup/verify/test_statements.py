"""The rows of the team's own SQL, as text, and the path of its session."""

from __future__ import annotations

import pytest

from jobs.backup.verify import statements


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), '"$user", public'),
        (("work_mem=4MB", "search_path=app, public"), "app, public"),
        (('search_path=""',), '""'),
        (('"shop" search_path=private',), '"$user", public'),
    ],
)
def test_the_search_path_is_that_of_the_database(settings: tuple[str, ...], expected: str) -> None:
    assert statements.search_path(settings) == expected


def test_a_row_is_printable_and_short() -> None:
    assert statements.values_text([(b"id", b"7"), (b"note", None), (None, b"x")]) == "id=7, note=NULL, ?=x"
    hostile = statements.values_text([(b"a\x1b[31m", b"line\n\xff\xe2\x80\xae")])
    assert hostile.isprintable()
    assert len(statements.values_text([(b"long", b"x" * 5000)])) == statements.LONGEST_ROW + 1
