import pytest

from jobs.backup.restore.fill import groups_of_callers, is_transient


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
