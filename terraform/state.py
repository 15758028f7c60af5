"""Read state files, alone and inside saved plans: versions, resources, and differences."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terraform import values
from terraform.errors import ChangeRefused

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


def succeeding_state(name: str, saved: str, present: str) -> str:
    """Return a saved state with the serial number that follows the present state's.

    Terraform then refuses it if anything else writes the state first. Raise ChangeRefused for another lineage, unless
    the present state is empty: Terraform creates such a state, with a new lineage, when the state was lost.
    """
    version, replaced = state_version(saved), state_version(present)
    if state_contents(present) and version.lineage != replaced.lineage:
        fact = "the saved state has another lineage than the present one, so they describe different resources"
        raise ChangeRefused(f"{name}: {fact}; choose a state that was saved after the present one was created")
    return json.dumps({**json.loads(saved), "serial": max(version.number, replaced.number) + 1})


@dataclass(frozen=True, slots=True)
class StateDifference:
    """A resource or output that differs between two states; for a change, the names of its attributes."""

    action: str
    address: str
    attributes: tuple[str, ...] = ()


def state_differences(before: str, after: str) -> list[StateDifference]:
    """Return how the resources and outputs of one state become those of another one, without any value."""
    old, new = state_contents(before), state_contents(after)
    found = []
    for address in sorted({*old, *new}):
        if address not in new:
            found.append(StateDifference("removed", address))
        elif address not in old:
            found.append(StateDifference("added", address))
        elif paths := list(values.differing_paths(old[address], new[address])):
            names = tuple(dict.fromkeys(values.dotted_path(path[:1]) for path in paths if path))
            found.append(StateDifference("changed", address, names))
    return found


def state_contents(state: str) -> dict[str, Any]:
    """Return the resources and outputs of a state by address, with their attributes; without data sources."""
    document = json.loads(state or "{}")
    outputs = document.get("outputs") or {}
    found: dict[str, Any] = {f"output.{name}": {"value": each.get("value")} for name, each in outputs.items()}
    for resource, instance in _instances(document):
        found[_address(resource, instance)] = instance.get("attributes", instance.get("attributes_flat"))
    return found


def _address(resource: dict[str, Any], instance: dict[str, Any]) -> str:
    """Return the address of an instance as Terraform writes it, and whether it is deposed or tainted."""
    steps = [resource.get("module"), resource.get("type"), resource.get("name")]
    key, deposed = instance.get("index_key"), instance.get("deposed")
    address = ".".join(str(step) for step in steps if step)
    address += "" if key is None else f"[{json.dumps(key, ensure_ascii=False)}]"
    address += f" (deposed object {deposed})" if deposed else ""
    return f"{address} (tainted)" if instance.get("status") == "tainted" else address


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
    """Yield each managed resource with its attributes."""
    for resource, instance in _instances(state):
        address = [resource.get(name) for name in ("module", "type", "name")]
        key = [*address, instance.get("index_key"), instance.get("deposed"), instance.get("status")]
        yield repr(key), instance.get("attributes", instance.get("attributes_flat"))


def _instances(state: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each instance with its resource; data sources are left out."""
    for resource in state.get("resources") or ():
        if resource.get("mode") != "data":
            for instance in resource.get("instances") or ():
                yield resource, instance
