import pytest

from jobs.backup.restore.fill import can_be_unlogged

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
