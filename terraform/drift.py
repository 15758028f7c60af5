"""What is not as it should be: told apart, attribute by attribute, from what is merely not applied yet. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import translate
from functools import cache

from inventories import Ignore
from terraform import values
from terraform.plan import Change, OutputChange, Plan
from terraform.values import SENSITIVE, UNKNOWN, Path


class DriftKind(StrEnum):
    """What is wrong, the worst first."""

    MISSING = "missing"
    CHANGED = "changed"
    STATE_ONLY = "state only"
    PENDING = "pending"

    @property
    def is_drift(self) -> bool:
        """Whether somebody did it outside, rather than in the code."""
        return self is not DriftKind.PENDING


MEANING = {
    DriftKind.MISSING: "deleted outside; the next apply makes it again",
    DriftKind.CHANGED: "changed outside; the next apply reverts it",
    DriftKind.STATE_ONLY: "changed or deleted outside, and no plan would touch it; the next apply takes note of it",
    DriftKind.PENDING: "in the code, and not applied yet",
}


CLOCK = "a time that moves on by itself"


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """One attribute, or a whole resource, that is not as state and code have it. Its values can be shown."""

    kind: DriftKind
    address: str
    attribute: str
    before: str
    now: str
    action: str = ""
    ignored: str = ""

    @property
    def what(self) -> str:
        """The resource and its attribute."""
        return f"{self.address} {self.attribute}".rstrip()

    @property
    def sentence(self) -> str:
        """What happened to it."""
        if self.attribute:
            return f"{self.before} → {self.now}"
        gone = {
            DriftKind.MISSING: "deleted outside",
            DriftKind.STATE_ONLY: "deleted outside, and no longer in the code",
        }
        return gone.get(self.kind, f"to {self.action}")


def drift_findings(plan: Plan, ignore: Sequence[Ignore] = ()) -> tuple[DriftFinding, ...]:
    """Everything that is not as it should be, the worst first; ignored findings bear their reason."""
    by_address = {change.address: change for change in plan.changes}
    drift = {one.address: one for one in plan.drift if _is_real(one, plan)}
    found: list[DriftFinding] = []
    for address, outside in drift.items():
        found += _outside(outside, by_address.get(address), plan.unchanged.get(address))
    for change in plan.changes:
        found += _pending(change, drift.get(change.address))
    found += _outputs(plan.outputs, drift.values())
    return tuple(sorted((_ignored(one, ignore) for one in _tags_once(found)), key=_order))


def recorded_by_apply(found: Iterable[DriftFinding]) -> list[DriftFinding]:
    """What an apply takes note of, since the code leaves it to the cloud: else it would be told for ever."""
    return [one for one in found if one.kind is DriftKind.STATE_ONLY and not one.ignored]


def unmatched_rules(found: Iterable[DriftFinding], ignore: Sequence[Ignore]) -> list[Ignore]:
    """Rules that no finding meets any more, whether another rule was first or not."""
    everything = list(found)
    return [rule for rule in ignore if not any(_meets(rule, one) for one in everything)]


def _order(one: DriftFinding) -> tuple[bool, int, str, str]:
    return bool(one.ignored), list(DriftKind).index(one.kind), one.address, one.attribute


def _is_real(outside: Change, plan: Plan) -> bool:
    """Terraform 1.0 lists what did not change, and takes a move from x to x[0] for a deletion."""
    if outside.action == "destroy":
        return f"{outside.address}[0]" not in plan.unchanged
    return outside.action == "update" and any(values.differing_paths(outside.before, outside.after))


def _outside(outside: Change, planned: Change | None, unchanged: Change | None) -> Iterator[DriftFinding]:
    if outside.action == "destroy":
        yield DriftFinding(DriftKind.MISSING if planned else DriftKind.STATE_ONLY, outside.address, "", "there", "gone")
        return
    masked = _masked(outside, planned or unchanged)
    for path in values.differing_paths(outside.before, outside.after):
        kind = DriftKind.CHANGED if planned and _touches(planned, path) else DriftKind.STATE_ONLY
        before, now = _texts(masked, path)
        clock = kind is DriftKind.STATE_ONLY and values.is_later(now, before)
        yield DriftFinding(kind, outside.address, values.dotted_path(path), before, now, ignored=CLOCK if clock else "")


def _masked(one: Change, other: Change | None) -> Change:
    """What either of two views of a resource calls sensitive is so in both."""
    return replace(one, sensitive=(*one.sensitive, *other.sensitive)) if other else one


def _touches(planned: Change, path: Path) -> bool:
    """Whether applying would give this attribute another value than it has now."""
    if planned.action in ("destroy", "forget"):
        return True
    if planned.is_unknown(path):
        return True
    return not values.are_equal(values.value_at(planned.before, path), values.value_at(planned.after, path))


def _texts(change: Change, path: Path) -> tuple[str, str]:
    """Before and after, as they can be shown."""
    if change.is_sensitive(path):
        return SENSITIVE, SENSITIVE
    before, after = values.value_at(change.before, path), values.value_at(change.after, path)
    if change.is_unknown(path):
        return values.short_text(before), UNKNOWN
    return values.short_texts(before, after)


def _pending(change: Change, outside: Change | None) -> Iterator[DriftFinding]:
    """What the code wants and nobody has touched outside."""
    if outside and outside.action == "destroy":
        return  # it is missing: that the plan makes it again is no news
    if change.moved_from:
        yield DriftFinding(
            DriftKind.PENDING, change.address, "", change.moved_from, change.address, f"move from {change.moved_from}"
        )
    if change.imported_from:
        deed = f"import {change.imported_from}"
        yield DriftFinding(DriftKind.PENDING, change.address, "", change.imported_from, change.address, deed)
    if not change.action:
        return
    if change.action not in ("update", "replace"):
        yield DriftFinding(DriftKind.PENDING, change.address, "", "", "", change.action)
        return
    drifted = set(values.differing_paths(outside.before, outside.after)) if outside else set()
    edits = [path for path in change.edits() if not _is_among(path, drifted)]
    masked = _masked(change, outside)
    for path in edits:
        yield DriftFinding(
            DriftKind.PENDING, change.address, values.dotted_path(path), *_texts(masked, path), change.action
        )
    if not edits and not drifted and (change.action == "replace" or change.is_unknown(())):
        yield DriftFinding(DriftKind.PENDING, change.address, "", "", "", change.action)


def _is_among(path: Path, drifted: set[Path]) -> bool:
    return any(path[: len(one)] == one or one[: len(path)] == path for one in drifted)


def _outputs(outputs: Iterable[OutputChange], drift: Iterable[Change]) -> Iterator[DriftFinding]:
    """Outputs that the code changes; those that only follow what was found elsewhere are no news of their own."""
    moved = [
        (values.value_at(one.before, path), values.value_at(one.after, path))
        for one in drift
        for path in values.differing_paths(one.before, one.after)
    ]
    for output in outputs:
        followed = (output.before, output.after) in moved
        if not output.is_known or followed or values.are_equal(output.before, output.after):
            continue
        if output.is_sensitive:
            before, after = SENSITIVE, SENSITIVE
        else:
            before, after = values.short_texts(output.before, output.after)
        yield DriftFinding(DriftKind.PENDING, f"output.{output.name}", "value", before, after, output.action)


def _tags_once(found: Iterable[DriftFinding]) -> Iterator[DriftFinding]:
    """AWS's tags_all repeats tags, and adds the tags that every resource gets: it is told as one, under tags."""
    everything = list(found)
    all_tags = {
        (one.kind, one.address, one.attribute.removeprefix("tags_all.")) for one in everything if _is_all_tags(one)
    }
    for one in everything:
        if _is_all_tags(one):
            yield replace(one, attribute="tags." + one.attribute.removeprefix("tags_all."))
        elif (one.kind, one.address, one.attribute.removeprefix("tags.")) not in all_tags:
            yield one


def _is_all_tags(one: DriftFinding) -> bool:
    return one.attribute.startswith("tags_all.")


def _ignored(one: DriftFinding, rules: Sequence[Ignore]) -> DriftFinding:
    if not one.kind.is_drift or one.ignored:
        return one
    return next((replace(one, ignored=rule.why) for rule in rules if _meets(rule, one)), one)


def _meets(rule: Ignore, one: DriftFinding) -> bool:
    """An attribute's rule covers what lies below it; a resource's rule covers it whole."""
    if not one.kind.is_drift or not _pattern(rule.resource).match(one.address):
        return False
    if rule.attribute is None:
        return True
    levels = one.attribute.split(".")
    return any(_pattern(rule.attribute).match(".".join(levels[:at])) for at in range(1, len(levels) + 1))


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """As in file names, but for brackets, which are part of addresses."""
    return re.compile(translate(text.replace("[", "[[]")))
