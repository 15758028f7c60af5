"""States, as text and inside saved plans: which one it is, and whether looking at the cloud brought up anything new."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terraform import values

BEFORE, AFTER = "tfstate-prev", "tfstate"


@dataclass(frozen=True, slots=True)
class StateVersion:
    """Which state it is: its lineage, and how often it has been written."""

    lineage: str = ""
    number: int = 0

    def is_of(self, planned: StateVersion) -> bool:
        """Whether a plan of that state is one of this: where there was none, there still must be none."""
        return self == planned if self.lineage else not planned.number


def state_version(state: str | bytes) -> StateVersion:
    """Which state a text is."""
    told = json.loads(state or "{}")
    return StateVersion(told.get("lineage", ""), told.get("serial", 0))


def planned_state_version(file: Path) -> StateVersion:
    """The state that a plan is based on: a plan file has it inside."""
    with zipfile.ZipFile(file) as plan:
        return state_version(plan.read(AFTER))


def found_no_change(file: Path) -> bool:
    """Whether a plan found every resource as the state has it: the file has the state before and after the look."""
    with zipfile.ZipFile(file) as plan:
        if BEFORE not in plan.namelist():
            return False
        before, after = (dict(_resources(json.loads(plan.read(name)))) for name in (BEFORE, AFTER))
    return before.keys() == after.keys() and not any(
        any(values.differing_paths(before[one], after[one])) for one in before
    )


def _resources(state: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What Terraform has made, each with its attributes; data sources are merely read."""
    for resource in state.get("resources") or ():
        if resource.get("mode") == "data":
            continue
        of = [resource.get(name) for name in ("module", "type", "name")]
        for instance in resource.get("instances") or ():
            which = [*of, instance.get("index_key"), instance.get("deposed"), instance.get("status")]
            yield repr(which), instance.get("attributes", instance.get("attributes_flat"))
