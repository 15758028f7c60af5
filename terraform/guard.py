"""What must never be destroyed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from terraform.errors import ChangeRefused
from terraform.plan import Change, Plan


def refuse_destruction(name: str, plan: Plan, keep: Sequence[str]) -> None:
    """Refused, with every resource that the plan would destroy although it is to be kept."""
    found = list(kept_resources(plan, keep))
    if found:
        which = ", ".join(f"{change.address} ({why})" for change, why in found)
        way_out = "leave them, or take them off the list or the tag away first"
        raise ChangeRefused(f"{name}: the plan would destroy what is to be kept: {which}; {way_out}")


def kept_resources(plan: Plan, keep: Sequence[str]) -> Iterator[tuple[Change, str]]:
    """Each resource that would be destroyed or replaced and is to be kept, and who says so."""
    for change in plan.changes:
        if not change.destroys:
            continue
        if change.type in keep:
            yield change, f"terraform.keep has {change.type}"
        elif _is_tagged(change.before):
            yield change, "it is tagged keep"


def _is_tagged(before: Any) -> bool:
    tables = [before.get(name) for name in ("tags", "tags_all", "labels")] if isinstance(before, dict) else []
    tags = {str(key).casefold(): str(value).casefold() for table in tables if table for key, value in table.items()}
    return tags.get("keep", "no") not in ("no", "false")
