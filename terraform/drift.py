"""Read drift from a plan, attribute by attribute, and tell it from code that is not applied yet. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from inventories import Ignore
from inventories.patterns import name_pattern
from terraform import values
from terraform.plan import Change, OutputChange, Plan
from terraform.values import FORGOTTEN, NOT_SENSITIVE, SENSITIVE, UNKNOWN, Path


class DriftKind(StrEnum):
    """The kinds of findings, the most severe first."""

    MISSING = "missing"
    CHANGED = "changed"
    STATE_ONLY = "state only"
    CHECK_FAILED = "check failed"
    PENDING = "pending"

    @property
    def is_change(self) -> bool:
        """Whether something differs between the code and the cloud."""
        return self is not DriftKind.CHECK_FAILED

    @property
    def is_drift(self) -> bool:
        """Whether the change was made outside Terraform; a pending change is in the code."""
        return self.is_change and self is not DriftKind.PENDING


MEANING = {
    DriftKind.MISSING: "deleted outside; the next apply creates it again",
    DriftKind.CHANGED: "changed outside; the next apply reverts it",
    DriftKind.STATE_ONLY: "changed or deleted outside, and no plan reverts it; the next apply records it in the state",
    DriftKind.CHECK_FAILED: "a check in the code fails; this alone changes no exit code",
    DriftKind.PENDING: "in the code, but not applied yet",
}


CLOCK = "a timestamp that the cloud updates"


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """A difference in one attribute, or in a whole resource. Its values are safe to show."""

    kind: DriftKind
    address: str
    attribute: str
    before: str
    now: str
    action: str = ""
    ignored: str = ""
    by: str = ""
    """Who changed the resource last, in which call and when; empty if that is not known."""

    @property
    def what(self) -> str:
        """The resource and its attribute."""
        return f"{self.address} {self.attribute}".rstrip()

    @property
    def sentence(self) -> str:
        """The change in words: old value → new value, or what happened to the resource."""
        if self.attribute:
            return f"{self.before} → {self.now}"
        if self.kind is DriftKind.CHECK_FAILED:
            return self.now
        gone = {
            DriftKind.MISSING: "deleted outside",
            DriftKind.STATE_ONLY: "deleted outside, and no longer in the code",
        }
        if self.action == "forget":
            return FORGOTTEN
        return gone.get(self.kind, f"to {self.action}")


def drift_findings(plan: Plan, ignore: Sequence[Ignore] = ()) -> tuple[DriftFinding, ...]:
    """Return all findings, the most severe first; an ignored finding has the reason of its rule."""
    by_address = {change.address: change for change in plan.changes}
    drift = {change.address: change for change in plan.drift if _is_real(change, plan)}
    findings: list[DriftFinding] = []
    for address, outside in drift.items():
        findings += _outside(outside, by_address.get(address), plan.unchanged.get(address))
    for change in plan.changes:
        findings += _pending(change, drift.get(change.address))
    findings += _outputs(plan.outputs, drift.values())
    findings += _other_than_changes(plan)
    return tuple(
        sorted((_with_reason(finding, ignore) for finding in _without_duplicate_tags(findings)), key=_severity)
    )


def recorded_by_apply(findings: Iterable[DriftFinding]) -> list[DriftFinding]:
    """Return the outside changes that an apply records in the state, because the code does not set these values.

    Without this, they would be reported forever.
    """
    return [finding for finding in findings if finding.kind is DriftKind.STATE_ONLY and not finding.ignored]


def unmatched_rules(findings: Iterable[DriftFinding], ignore: Sequence[Ignore]) -> list[Ignore]:
    """Return the rules that match no finding at all."""
    all_findings = list(findings)
    return [rule for rule in ignore if not any(_matches(rule, finding) for finding in all_findings)]


def _severity(finding: DriftFinding) -> tuple[bool, int, str, str]:
    return bool(finding.ignored), list(DriftKind).index(finding.kind), finding.address, finding.attribute


def _is_real(outside: Change, plan: Plan) -> bool:
    """Return whether an outside change is real: Terraform 1.0 lists unchanged resources, and a move as a deletion."""
    if outside.action == "destroy":
        return f"{outside.address}[0]" not in plan.unchanged
    return outside.action == "update" and any(_changed_outside(outside))


def _changed_outside(outside: Change) -> Iterator[Path]:
    """Yield the paths that differ in the cloud.

    AWS's provider leaves its default tags out of `tags`. If the code changes a default tag, the provider lists the
    cloud's tag there until the next apply. Only `tags_all` shows whether the tag itself was changed.
    """
    for path in values.differing_paths(outside.before, outside.after):
        tag = ("tags_all", *path[1:])
        before, after = values.value_at(outside.before, tag), values.value_at(outside.after, tag)
        if path[:1] != ("tags",) or before is None or before != after:
            yield path


def _outside(outside: Change, planned: Change | None, unchanged: Change | None) -> Iterator[DriftFinding]:
    if outside.action == "destroy":
        kind = DriftKind.MISSING if planned else DriftKind.STATE_ONLY
        yield DriftFinding(kind, outside.address, "", "exists", "deleted")
        return
    masked = _masked(outside, planned or unchanged)
    for path in _changed_outside(outside):
        kind = DriftKind.CHANGED if planned and _touches(planned, path) else DriftKind.STATE_ONLY
        before, now = _texts(masked, path)
        clock = kind is DriftKind.STATE_ONLY and values.is_later(now, before)
        yield DriftFinding(kind, outside.address, values.dotted_path(path), before, now, ignored=CLOCK if clock else "")


def _masked(change: Change, other: Change | None) -> Change:
    """Return the change with the sensitive marks of both views of the resource."""
    return replace(change, sensitive=(*change.sensitive, *other.sensitive)) if other else change


def _touches(planned: Change, path: Path) -> bool:
    """Return whether an apply gives this attribute a value other than its current one."""
    if planned.action in ("destroy", "forget"):
        return True
    if planned.is_unknown(path):
        return True
    return not values.are_equal(values.value_at(planned.before, path), values.value_at(planned.after, path))


def _texts(change: Change, path: Path) -> tuple[str, str]:
    """Return the values before and after, safe to show."""
    if change.is_sensitive(path):
        return SENSITIVE, SENSITIVE
    before, after = values.value_at(change.before, path), values.value_at(change.after, path)
    if change.is_unknown(path):
        return values.short_text(before), UNKNOWN
    return values.short_texts(before, after)


def _pending(change: Change, outside: Change | None) -> Iterator[DriftFinding]:
    """Yield the planned changes that do not only revert an outside change."""
    if outside and outside.action == "destroy":
        return  # already reported as missing; the plan only creates it again
    if change.moved_from:
        yield DriftFinding(
            DriftKind.PENDING, change.address, "", change.moved_from, change.address, f"move from {change.moved_from}"
        )
    if change.imported_from:
        action = f"import {change.imported_from}"
        yield DriftFinding(DriftKind.PENDING, change.address, "", change.imported_from, change.address, action)
    if not change.action:
        return
    if change.action not in ("update", "replace"):
        yield DriftFinding(DriftKind.PENDING, change.address, "", "", "", change.action)
        return
    drifted = set(_changed_outside(outside)) if outside else set()
    edits = [path for path in change.edits() if not _is_among(path, drifted) or _adds_blocks(change, outside, path)]
    masked = _masked(change, outside)
    for path in edits:
        yield DriftFinding(
            DriftKind.PENDING, change.address, values.dotted_path(path), *_texts(masked, path), change.action
        )
    marks = list(change.mark_edits()) if change.action == "update" else []
    for path, becomes in marks:
        before, now = (NOT_SENSITIVE, SENSITIVE) if becomes else (SENSITIVE, NOT_SENSITIVE)
        yield DriftFinding(DriftKind.PENDING, change.address, values.dotted_path(path), before, now, change.action)
    if not edits and not marks and not drifted and _is_otherwise_pending(change):
        yield DriftFinding(DriftKind.PENDING, change.address, "", "", "", change.action)


def _is_otherwise_pending(change: Change) -> bool:
    """Return whether an apply changes a resource although all its known values mean the same before and after."""
    return change.action == "replace" or change.is_unknown(()) or bool(change.before == change.after)


def _is_among(path: Path, drifted: set[Path]) -> bool:
    return any(path[: len(other)] == other or other[: len(path)] == path for other in drifted)


def _adds_blocks(change: Change, outside: Change | None, path: Path) -> bool:
    """Return whether the plan edits a list of blocks, of which others were changed outside."""
    planned, earlier = values.value_at(change.after, path), outside and values.value_at(outside.before, path)
    return values.are_blocks(planned) and values.are_blocks(earlier) and not values.are_equal(planned, earlier)


def _outputs(outputs: Iterable[OutputChange], drift: Iterable[Change]) -> Iterator[DriftFinding]:
    """Yield the outputs that the code changes; an output that only follows a drifted value is left out."""
    drifted_values = [
        (values.value_at(change.before, path), values.value_at(change.after, path))
        for change in drift
        for path in values.differing_paths(change.before, change.after)
    ]
    for output in outputs:
        if output.action == "destroy":
            yield DriftFinding(DriftKind.PENDING, f"output.{output.name}", "", "", "", "remove")
            continue
        if output.changes_only_marks:
            action = "change whether it is sensitive"
            yield DriftFinding(DriftKind.PENDING, f"output.{output.name}", "", "", "", action)
            continue
        followed = (output.before, output.after) in drifted_values
        if not output.is_known or followed or values.are_equal(output.before, output.after):
            continue
        if output.is_sensitive:
            before, after = SENSITIVE, SENSITIVE
        else:
            before, after = values.short_texts(output.before, output.after)
        yield DriftFinding(DriftKind.PENDING, f"output.{output.name}", "value", before, after, output.action)


def _other_than_changes(plan: Plan) -> Iterator[DriftFinding]:
    """Yield failed checks, actions to invoke, and what Terraform leaves to a later plan."""
    for check in plan.failed_checks:
        yield DriftFinding(DriftKind.CHECK_FAILED, check.address, "", "", check.message)
    later = [(invocation.address, f"invoke {invocation.trigger}".rstrip()) for invocation in plan.invocations]
    later += [(change.address, f"{change.action} later: {change.reason}") for change in plan.deferred]
    if not plan.is_complete and not plan.deferred:
        later.append(("the plan", "plan again after the next apply, since this plan lacks changes"))
    for address, action in later:
        yield DriftFinding(DriftKind.PENDING, address, "", "", "", action)


def _without_duplicate_tags(findings: Iterable[DriftFinding]) -> Iterator[DriftFinding]:
    """Yield each changed tag once, under `tags`: AWS repeats it in `tags_all`, beside the provider's default tags."""
    all_findings = list(findings)
    all_tags = {
        (finding.kind, finding.address, finding.attribute.removeprefix("tags_all."))
        for finding in all_findings
        if _is_all_tags(finding)
    }
    for finding in all_findings:
        if _is_all_tags(finding):
            yield replace(finding, attribute="tags." + finding.attribute.removeprefix("tags_all."))
        elif (finding.kind, finding.address, finding.attribute.removeprefix("tags.")) not in all_tags:
            yield finding


def _is_all_tags(finding: DriftFinding) -> bool:
    return finding.attribute.startswith("tags_all.")


def _with_reason(finding: DriftFinding, rules: Sequence[Ignore]) -> DriftFinding:
    if not finding.kind.is_drift or finding.ignored:
        return finding
    return next((replace(finding, ignored=rule.why) for rule in rules if _matches(rule, finding)), finding)


def _matches(rule: Ignore, finding: DriftFinding) -> bool:
    """Return whether a rule matches a finding: a rule for an attribute also matches the attributes below it."""
    if not finding.kind.is_drift or not name_pattern(rule.resource).match(finding.address):
        return False
    if rule.attribute is None:
        return True
    levels = finding.attribute.split(".")
    return any(name_pattern(rule.attribute).match(".".join(levels[:at])) for at in range(1, len(levels) + 1))
