"""Refuse plans that destroy resources that must be kept. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from terraform.errors import ChangeRefused
from terraform.plan import Change, Plan


def refuse_destruction(name: str, plan: Plan, keep: Sequence[str]) -> None:
    """Raise ChangeRefused with every resource that the plan destroys although it must be kept."""
    kept = list(kept_resources(plan, keep))
    if kept:
        resources = ", ".join(f"{change.address} ({reason})" for change, reason in kept)
        remedy = "change the code, or first remove the type from terraform.keep or the tag from the resource"
        raise ChangeRefused(f"{name}: the plan destroys resources that must be kept: {resources}; {remedy}")


def kept_resources(plan: Plan, keep: Sequence[str]) -> Iterator[tuple[Change, str]]:
    """Yield each resource that the plan destroys or replaces although it must be kept, with the reason to keep it."""
    for change in plan.changes:
        if not change.destroys:
            continue
        if change.type in keep:
            yield change, f"terraform.keep lists {change.type}"
        elif _is_tagged(change.before):
            yield change, "tagged keep"


def _is_tagged(before: Any) -> bool:
    tables = [before.get(name) for name in ("tags", "tags_all", "labels")] if isinstance(before, dict) else []
    tags = {str(key).casefold(): str(value).casefold() for table in tables if table for key, value in table.items()}
    return tags.get("keep", "no") not in ("no", "false")
