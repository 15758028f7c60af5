"""Each package has a floor for its coverage."""

from __future__ import annotations

import tomllib

import pytest

from tests.floors import FLOORS, below, reached


def test_a_package_is_as_covered_as_its_files_together() -> None:
    lines = {"jobs/a.py": (100, 100), "jobs/b/c.py": (300, 100), "deploys/d.py": (0, 0)}
    assert reached(lines) == {"jobs": 50.0, "deploys": 100.0}


@pytest.mark.parametrize(
    ("percent", "faults"),
    [
        ({"jobs": 90.0}, []),
        ({"jobs": 89.4}, ["jobs: 89.4 % of the lines are tested, the floor is 90 %"]),
        ({}, []),
    ],
)
def test_only_a_package_below_its_floor_is_reported(percent: dict[str, float], faults: list[str]) -> None:
    assert below({"jobs": 90}, percent) == faults


def test_each_package_has_a_floor() -> None:
    assert set(tomllib.loads(FLOORS.read_text())) == {"inventories", "terraform", "deploys", "jobs"}
