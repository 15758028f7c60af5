from datetime import UTC, datetime

import pytest

from jobs.backup.restore.lock import held_message, lock_number

SINCE = datetime(2026, 11, 21, 2, 0, 4, tzinfo=UTC)
RUNNING = "database shop: another restore or refresh of it is running"


def test_each_database_has_a_lock_of_its_own() -> None:
    numbers = {lock_number(f"shop{number}") for number in range(1000)}
    assert len(numbers) == 1000
    assert all(0 <= number < 2**31 for number in numbers)
    assert lock_number("shop") == 1187512553, "the same in every version and on every machine"


@pytest.mark.parametrize(
    ("holder", "text"),
    [
        (
            (77, "groundcrew restore on runner-2 (pid 4711)", "admin", SINCE),
            f"{RUNNING}: groundcrew restore on runner-2 (pid 4711), as role admin since 02:00:04 UTC. Wait for it, or "
            "end it: SELECT pg_terminate_backend(77)",
        ),
        ((77, "x", "y", None), f"{RUNNING}: x, as role y. Wait for it, or end it: SELECT pg_terminate_backend(77)"),
        (None, f"{RUNNING}, or has just ended; try again"),
    ],
)
def test_the_error_names_the_holder(holder: tuple[int, str, str, datetime | None] | None, text: str) -> None:
    assert held_message("shop", holder) == text
