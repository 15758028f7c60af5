"""`python -m tests.floors [PACKAGE …]`: after a run with coverage, check all packages or those named."""

from __future__ import annotations

import os
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from coverage import Coverage

from tests.parts.needs import why_missing

FLOORS = Path(__file__).with_name("floors.toml")


def reached(lines: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """The percentage of a package's lines that ran, from (lines, lines that ran) of each file; 100 without lines."""
    packages: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file, (total, ran) in lines.items():
        packages[Path(file).parts[0]][0] += total
        packages[Path(file).parts[0]][1] += ran
    return {package: 100 * ran / total if total else 100.0 for package, (total, ran) in packages.items()}


def below(floors: Mapping[str, int], percent: Mapping[str, float]) -> list[str]:
    """One sentence for each package that does not reach its floor."""
    return [
        f"{package}: {percent.get(package, 100):.1f} % of the lines are tested, the floor is {floor} %"
        for package, floor in floors.items()
        if percent.get(package, 100) < floor
    ]


def measured() -> dict[str, tuple[int, int]]:
    """Read (lines, lines that ran) of each file from .coverage."""
    coverage = Coverage()
    coverage.load()
    files = {}
    for file in coverage.get_data().measured_files():
        _, lines, _, missed, _ = coverage.analysis2(file)
        files[str(Path(file).resolve().relative_to(Path.cwd()))] = (len(lines), len(lines) - len(missed))
    return files


def main() -> None:
    percent = reached(measured())
    floors = tomllib.loads(FLOORS.read_text())
    print("Lines tested:", ", ".join(f"{package} {percent.get(package, 100):.1f} %" for package in floors))
    floors = {package: floor for package, floor in floors.items() if package in (sys.argv[1:] or floors)}
    if "terraform" in floors and (why := why_missing("aws-provider")):
        del floors["terraform"]
        print(f"The floor of terraform is not checked. The tests of stacks did not run: {why}.")
    if os.geteuid() != 0 and os.environ.get("CI") != "true":
        print("The floors are not checked: without root, tests were left out.")
    elif faults := below(floors, percent):
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
