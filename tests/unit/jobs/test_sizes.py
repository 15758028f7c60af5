import pytest

from jobs.sizes import size


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_960, "100 kB"),
        (999_600, "1.0 MB"),
        (1_400_000_000, "1.4 GB"),
        (2.5e15, "2500.0 TB"),
    ],
)
def test_bytes_are_said_in_the_unit_that_fits(number: float, said: str) -> None:
    assert size(number) == said
