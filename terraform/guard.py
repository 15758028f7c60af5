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


def refuse_unread_destruction(name: str, plan: Plan, other: str) -> None:
    """Raise ChangeRefused if a plan that nobody could read before destroys something, since the stack had to wait."""
    destroyed = [change.address for change in plan.changes if change.destroys]
    if destroyed:
        fact = f"this stack waited for {other}, and its new plan destroys {', '.join(destroyed)}, which nobody has read"
        raise ChangeRefused(f"{name}: {fact}; plan and keep it again")


def kept_resources(plan: Plan, keep: Sequence[str]) -> Iterator[tuple[Change, str]]:
    """Yield each resource that the plan destroys or replaces although it must be kept, with the reason to keep it."""
    for change in plan.changes:
        if not change.destroys:
            continue
        if change.type in keep:
            yield change, f"terraform.keep lists {change.type}"
        elif _is_tagged(change.before):
            yield change, "tagged keep"


_TAGS = ("tags", "tags_all", "tag", "labels", "effective_labels")


def _is_tagged(before: Any) -> bool:
    values = before if isinstance(before, dict) else {}
    tags = [(str(key).casefold(), str(value).casefold()) for name in _TAGS for key, value in _tags(values.get(name))]
    return any(key == "keep" and value not in ("no", "false") for key, value in tags)


def _tags(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each tag and its value from a map, from blocks with `key` and `value`, or from a list of names."""
    if isinstance(value, dict):
        yield from value.items()
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item.get("key"), item.get("value")
        else:
            yield item, ""
