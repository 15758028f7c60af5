import pytest

from jobs.backup.restore.fill import can_be_unlogged, groups_of_callers, is_transient


@pytest.mark.parametrize(
    ("output", "transient"),
    [
        ("pg_restore: error: could not execute query: ERROR: deadlock detected", True),
        ("pg_restore: error: server closed the connection unexpectedly", True),
        ("pg_restore: error: could not execute query: ERROR: permission denied for table a", False),
    ],
)
def test_pg_restore_is_tried_again_after_what_can_pass(output: str, transient: bool) -> None:
    assert is_transient(output) == transient


def test_tables_that_call_functions_keep_the_order_of_pg_dump() -> None:
    names = [("public", name) for name in ("e", "d", "c", "b", "a")]
    assert groups_of_callers(names, {("public", "c")}) == [
        (False, [("public", "a"), ("public", "b")]),
        (True, [("public", "c")]),
        (False, [("public", "d"), ("public", "e")]),
    ]


TABLE = "215; 1259 16385 TABLE public orders postgres\n"


@pytest.mark.parametrize(
    ("listing", "unlogged"),
    [
        ("", True),
        (f";\n; Archive created at 2026\n;\n{TABLE}3000; 2606 16390 FK CONSTRAINT public orders a postgres\n", True),
        (f"{TABLE}3000; 6106 16390 PUBLICATION TABLE public feed orders postgres\n", False),
        (f"{TABLE}3000; 6104 16390 PUBLICATION - feed postgres\n", True),
        (f"{TABLE}3000; 0 0 TABLE ATTACH public orders postgres\n", False),
        (TABLE * 501, False),
    ],
)
def test_tables_of_a_scratch_are_unlogged_if_nothing_needs_a_logged_one(listing: str, unlogged: bool) -> None:
    assert can_be_unlogged(listing) == unlogged
