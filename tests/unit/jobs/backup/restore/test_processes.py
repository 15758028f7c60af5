import pytest

from jobs.backup.restore.processes import is_transient


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
