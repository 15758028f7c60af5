"""A plan that a person reads in ten seconds: how many of what, then a line for each, the loudest first. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from terraform import values
from terraform.drift import DriftFinding
from terraform.plan import Change, Plan
from terraform.values import SENSITIVE, UNKNOWN

LOUDEST_FIRST = ("destroy", "replace", "forget", "update", "create", "import", "move")
NOTE = "note"
MARKS = {
    "destroy": "-", "replace": "-/+", "forget": "forget", "update": "~", "create": "+", "import": "import", "move": "→",
    NOTE: "note",
}  # fmt: skip
DONE = {
    "destroy": "destroyed", "replace": "replaced", "forget": "forgotten", "update": "updated", "create": "created",
    "import": "imported", "move": "moved",
}  # fmt: skip
MOST_EDITS = 4


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One resource: what happens to it, and to which of its attributes."""

    action: str
    address: str
    edits: str

    @property
    def is_loud(self) -> bool:
        """Whether something that is there will be gone."""
        return self.action in ("destroy", "replace")


def planned_counts(plan: Plan, noted: int = 0) -> str:
    """How many of what: 1 to destroy, 2 to update, 1 to take note of."""
    told = [
        _counted(plan, {action: f"to {action}" for action in LOUDEST_FIRST}),
        f"{noted} to take note of" * (noted > 0),
    ]
    return ", ".join(filter(None, told)) or "nothing to do"


def applied_counts(plan: Plan) -> str:
    """The same once it is done: 1 destroyed, 2 updated."""
    return _counted(plan, DONE) or "nothing done"


def _counted(plan: Plan, words: Mapping[str, str]) -> str:
    counted = Counter(_action(change) for change in plan.changes)
    told = [f"{counted[action]} {words[action]}" for action in LOUDEST_FIRST if counted[action]]
    if plan.outputs:
        told.append(f"{len(plan.outputs)} output{'s' if len(plan.outputs) > 1 else ''}")
    return ", ".join(told)


def plan_lines(plan: Plan) -> list[PlanLine]:
    """A line for each resource and output that would change."""
    told = [PlanLine(_action(change), change.address, _edits(change)) for change in plan.changes]
    told.sort(key=lambda line: (LOUDEST_FIRST.index(line.action), line.address))
    for output in plan.outputs:
        after = SENSITIVE if output.is_sensitive else values.short_text(output.after) if output.is_known else UNKNOWN
        told.append(PlanLine("update", f"output.{output.name}", f"= {after}"))
    return told


def recorded_lines(noted: Sequence[DriftFinding]) -> list[PlanLine]:
    """A line for each setting that was changed outside, or resource that was deleted, which the state takes note of."""
    return [PlanLine(NOTE, one.address, _note(one)) for one in noted]


def _note(one: DriftFinding) -> str:
    return f"{one.attribute} {one.sentence}, changed outside" if one.attribute else one.sentence


def _action(change: Change) -> str:
    return change.action or ("import" if change.imported_from else "move")


def _edits(change: Change) -> str:
    if change.moved_from and not change.action:
        return f"was {change.moved_from}"
    told = list(_told(change)) if change.action in ("update", "replace") else []
    more = f", and {len(told) - MOST_EDITS} more" if len(told) > MOST_EDITS else ""
    imported = [f"from {change.imported_from}"] if change.imported_from else []
    return ", ".join(imported + told[:MOST_EDITS]) + more


def _told(change: Change) -> Iterator[str]:
    for path in change.edits():
        if path[0] == "tags_all":
            continue
        if change.is_sensitive(path):
            yield f"{values.dotted_path(path)} {SENSITIVE}"
            continue
        before, after = values.short_texts(values.value_at(change.before, path), values.value_at(change.after, path))
        yield f"{values.dotted_path(path)} {before} → {after}"
