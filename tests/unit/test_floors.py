"""Coverage is held to a floor room by room."""

from __future__ import annotations

import tomllib

import pytest

from tests.floors import FLOORS, below, reached


def test_a_room_is_as_covered_as_its_files_together() -> None:
    lines = {"jobs/a.py": (100, 100), "jobs/b/c.py": (300, 100), "deploys/d.py": (0, 0)}
    assert reached(lines) == {"jobs": 50.0, "deploys": 100.0}


@pytest.mark.parametrize(
    ("percent", "told"),
    [
        ({"jobs": 90.0}, []),
        ({"jobs": 89.4}, ["jobs: 89.4 % of the lines are tested, the floor is 90 %"]),
        ({}, []),
    ],
)
def test_only_a_room_below_its_floor_is_told(percent: dict[str, float], told: list[str]) -> None:
    assert below({"jobs": 90}, percent) == told


def test_each_room_has_a_floor() -> None:
    assert set(tomllib.loads(FLOORS.read_text())) == {"inventories", "terraform", "deploys", "jobs"}
