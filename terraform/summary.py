"""Summarise a plan for people: the counts, then a line for each resource, the most dangerous first. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from terraform import values
from terraform.drift import DriftFinding
from terraform.plan import Change, OutputChange, Plan
from terraform.values import FORGOTTEN, SENSITIVE, UNKNOWN

ORDER = ("destroy", "replace", "forget", "update", "create", "import", "move")
REMOVE, READ, INVOKE, LATER, CHECK, INCOMPLETE = "remove", "read", "invoke", "later", "check failed", "incomplete"
RECORD = "record"
MARKS = {
    "destroy": "-", "replace": "-/+", "forget": "forget", "update": "~", "create": "+", "import": "import", "move": "→",
    REMOVE: "-", READ: "<=", INVOKE: "invoke", LATER: "later", CHECK: "failed", INCOMPLETE: "!", RECORD: "record",
}  # fmt: skip
APPLIED = {
    "destroy": "destroyed", "replace": "replaced", "forget": "forgotten", "update": "updated", "create": "created",
    "import": "imported", "move": "moved", READ: "read",
    INVOKE: "invoked",
}  # fmt: skip
MAX_EDITS = 4


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One resource: the action, and the attributes that change."""

    action: str
    address: str
    edits: str

    @property
    def is_dangerous(self) -> bool:
        """Whether an existing resource is destroyed."""
        return self.action in ("destroy", "replace")


def planned_counts(plan: Plan, recorded: int = 0) -> str:
    """Return the counts of planned changes, such as "1 to destroy, 2 to update, 1 to record in the state"."""
    counts = [
        _counts(plan, {action: f"to {action}" for action in (*ORDER, READ, INVOKE)}),
        f"{recorded} to record in the state" * (recorded > 0),
    ]
    return ", ".join([", ".join(filter(None, counts)) or "nothing to do", *_warnings(plan)])


def _warnings(plan: Plan) -> Iterator[str]:
    """Yield what an apply of the plan leaves undone or does not repair."""
    if plan.deferred:
        yield f"{len(plan.deferred)} for a later plan"
    elif not plan.is_complete:
        yield "not complete"
    if plan.failed_checks:
        yield f"{len(plan.failed_checks)} check{'s' if len(plan.failed_checks) > 1 else ''} failed"


def applied_counts(plan: Plan) -> str:
    """Return the counts of applied changes, such as "1 destroyed, 2 updated"."""
    return _counts(plan, APPLIED) or "nothing done"


def _counts(plan: Plan, verbs: Mapping[str, str]) -> str:
    counted = Counter(_action(change) for change in plan.changes)
    counted["import"] = sum(bool(change.imported_from) for change in plan.changes)
    counts = [f"{counted[action]} {verbs[action]}" for action in ORDER if counted[action]]
    if plan.outputs:
        counts.append(f"{len(plan.outputs)} output{'s' if len(plan.outputs) > 1 else ''}")
    if plan.reads:
        counts.append(f"{len(plan.reads)} {verbs[READ]}")
    if plan.invocations:
        actions = "actions" if len(plan.invocations) > 1 else "action"
        counts.append(f"{len(plan.invocations)} {actions} {verbs[INVOKE]}")
    return ", ".join(counts)


def plan_lines(plan: Plan) -> list[PlanLine]:
    """Return a line for each resource and output that changes, and for all else that the user has to know."""
    lines = [PlanLine(_action(change), change.address, _edits(change)) for change in plan.changes]
    lines.sort(key=lambda line: (ORDER.index(line.action), line.address))
    lines += [_output_line(output) for output in plan.outputs]
    lines += [PlanLine(READ, address, "during the apply") for address in plan.reads]
    lines += [PlanLine(INVOKE, invocation.address, invocation.trigger) for invocation in plan.invocations]
    lines += [PlanLine(LATER, change.address, f"to {change.action}: {change.reason}") for change in plan.deferred]
    if not plan.is_complete and not plan.deferred:
        lines.append(PlanLine(INCOMPLETE, "the plan", "is not complete: plan again after the apply"))
    lines += [PlanLine(CHECK, check.address, check.message) for check in plan.failed_checks]
    return lines


def _output_line(output: OutputChange) -> PlanLine:
    address = f"output.{output.name}"
    if output.action == "destroy":
        return PlanLine(
            REMOVE, address, f"was {SENSITIVE if output.is_sensitive else values.short_text(output.before)}"
        )
    if output.changes_only_marks:
        return PlanLine(output.action, address, "becomes sensitive, or is no longer")
    after = SENSITIVE if output.is_sensitive else values.short_text(output.after) if output.is_known else UNKNOWN
    return PlanLine(output.action, address, f"= {after}")


def recorded_lines(findings: Sequence[DriftFinding]) -> list[PlanLine]:
    """Return a line for each outside change that the apply records in the state."""
    return [PlanLine(RECORD, finding.address, _outside_change(finding)) for finding in findings]


def _outside_change(finding: DriftFinding) -> str:
    return f"{finding.attribute} {finding.sentence}, changed outside" if finding.attribute else finding.sentence


def _action(change: Change) -> str:
    return change.action or ("import" if change.imported_from else "move")


def _edits(change: Change) -> str:
    edits = list(_attribute_edits(change)) if change.action in ("update", "replace") else []
    more = f", and {len(edits) - MAX_EDITS} more" if len(edits) > MAX_EDITS else ""
    notes = [
        f"moved from {change.moved_from}" if change.moved_from else "",
        f"imported from {change.imported_from}" if change.imported_from else "",
        FORGOTTEN if change.action == "forget" else "",
        "the old object is not destroyed" if change.action == "replace" and change.is_forgotten else "",
    ]
    return ", ".join([note for note in notes if note] + edits[:MAX_EDITS]) + more


def _attribute_edits(change: Change) -> Iterator[str]:
    for path in change.edits():
        if path[0] == "tags_all":
            continue
        if change.is_sensitive(path):
            yield f"{values.dotted_path(path)} {SENSITIVE}"
            continue
        before, after = values.short_texts(values.value_at(change.before, path), values.value_at(change.after, path))
        yield f"{values.dotted_path(path)} {before} → {after}"
    for path, becomes in change.mark_edits():
        yield f"{values.dotted_path(path)} {'marked' if becomes else 'no longer marked'} as sensitive"
