"""After a test run with coverage: does each room reach its floor?"""

from __future__ import annotations

import os
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from coverage import Coverage

FLOORS = Path(__file__).with_name("floors.toml")


def reached(lines: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """Percent of a room's lines that ran, from (lines, lines that ran) of each file; a room without lines is whole."""
    rooms: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file, (all_of_it, ran) in lines.items():
        rooms[Path(file).parts[0]][0] += all_of_it
        rooms[Path(file).parts[0]][1] += ran
    return {room: 100 * ran / total if total else 100.0 for room, (total, ran) in rooms.items()}


def below(floors: Mapping[str, int], percent: Mapping[str, float]) -> list[str]:
    """One sentence for each room that does not reach its floor."""
    return [
        f"{room}: {percent.get(room, 100):.1f} % of the lines are tested, the floor is {floor} %"
        for room, floor in floors.items()
        if percent.get(room, 100) < floor
    ]


def measured() -> dict[str, tuple[int, int]]:
    """What the last test run left in .coverage."""
    coverage = Coverage()
    coverage.load()
    found = {}
    for file in coverage.get_data().measured_files():
        _, lines, _, missed, _ = coverage.analysis2(file)
        found[str(Path(file).resolve().relative_to(Path.cwd()))] = (len(lines), len(lines) - len(missed))
    return found


def main() -> None:
    percent = reached(measured())
    floors = tomllib.loads(FLOORS.read_text())
    print("Lines tested:", ", ".join(f"{room} {percent.get(room, 100):.1f} %" for room in floors))
    if os.geteuid() != 0 and os.environ.get("CI") != "true":
        print("The floors are for root, for whom no test is left out.")
    elif faults := below(floors, percent):
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
