"""Read state files, alone and inside saved plans: their version, and whether a plan found a change."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terraform import values

BEFORE, AFTER, CODE = "tfstate-prev", "tfstate", "tfconfig/"
_CHECK = re.compile(rb'^\s*check\s+"|"check"\s*:', re.MULTILINE)
"""A block `check` in HCL, or in the JSON that Terraform also reads as code."""


@dataclass(frozen=True, slots=True)
class StateVersion:
    """The version of a state: its lineage, and a serial number that each write increases."""

    lineage: str = ""
    number: int = 0

    def matches(self, planned: StateVersion) -> bool:
        """Return whether a plan of `planned` applies to this state; without a state, the plan must have had none."""
        return self == planned if self.lineage else not planned.number


def state_version(state: str | bytes) -> StateVersion:
    """Return the version of a state given as JSON."""
    document = json.loads(state or "{}")
    return StateVersion(document.get("lineage", ""), document.get("serial", 0))


def planned_state_version(file: Path) -> StateVersion:
    """Return the version of the state that a saved plan is based on; the plan file contains that state."""
    with zipfile.ZipFile(file) as plan:
        return state_version(plan.read(AFTER))


def found_no_change(file: Path) -> bool:
    """Return whether a saved plan found every resource as the state has it, and its code has no checks.

    The plan file contains the state before and after the refresh, and the code. Only the plan has the results of
    checks, and a failed check alone is no change.
    """
    with zipfile.ZipFile(file) as plan:
        if BEFORE not in plan.namelist() or _has_checks(plan):
            return False
        before, after = (dict(_resources(json.loads(plan.read(name)))) for name in (BEFORE, AFTER))
    return before.keys() == after.keys() and not any(
        any(values.differing_paths(before[key], after[key])) for key in before
    )


def _has_checks(plan: zipfile.ZipFile) -> bool:
    code = (name for name in plan.namelist() if name.startswith(CODE))
    return any(_CHECK.search(plan.read(name)) for name in code)


def _resources(state: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each managed resource with its attributes; data sources are left out."""
    for resource in state.get("resources") or ():
        if resource.get("mode") == "data":
            continue
        address = [resource.get(name) for name in ("module", "type", "name")]
        for instance in resource.get("instances") or ():
            key = [*address, instance.get("index_key"), instance.get("deposed"), instance.get("status")]
            yield repr(key), instance.get("attributes", instance.get("attributes_flat"))
