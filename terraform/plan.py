"""A plan as `terraform show -json` prints it: what would change, and what has changed outside. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from terraform import values
from terraform.errors import UnreadablePlan
from terraform.values import UNKNOWN, Path

FORMATS = ("0", "1")

_ACTIONS = {
    ("create",): "create",
    ("update",): "update",
    ("delete",): "destroy",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("forget",): "forget",
    ("create", "forget"): "replace",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What a plan says of one resource (or what refreshing it brought up): before, after, and what must not show."""

    address: str
    type: str
    action: str
    before: Any
    after: Any
    name: tuple[str, str, str] = ("", "", "")
    unknown: Any = None
    sensitive: tuple[Any, ...] = ()
    moved_from: str = ""
    imported_from: str = ""

    @property
    def does_something(self) -> bool:
        """Whether applying would do anything at all."""
        return bool(self.action or self.moved_from or self.imported_from)

    @property
    def destroys(self) -> bool:
        """Whether something that is there would be gone."""
        return self.action in ("destroy", "replace")

    def edits(self) -> Iterator[Path]:
        """The paths of what differs and is known."""
        known = (path for path in values.differing_paths(self.before, self.after) if not self.is_unknown(path))
        yield from known

    def is_unknown(self, path: Path) -> bool:
        """Whether the value is known only after apply."""
        return values.is_marked(self.unknown, path)

    def is_sensitive(self, path: Path) -> bool:
        """Whether Terraform or the provider says that the value must not show."""
        return any(values.is_marked(mask, path) for mask in self.sensitive)


@dataclass(frozen=True, slots=True)
class OutputChange:
    """An output that would get another value."""

    name: str
    action: str
    before: Any
    after: Any
    is_known: bool
    is_sensitive: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it, less what does not change."""

    changes: tuple[Change, ...] = ()
    drift: tuple[Change, ...] = ()
    outputs: tuple[OutputChange, ...] = ()
    unchanged: Mapping[str, Change] = field(default_factory=dict)

    @property
    def makes_something(self) -> bool:
        """Whether something would be there that was not, or not like this."""
        return any(change.action in ("create", "update", "replace") for change in self.changes)

    @property
    def is_empty(self) -> bool:
        """Whether applying it would change nothing."""
        return not self.changes and not self.outputs


def parse_plan(text: str | bytes) -> Plan:
    """A plan from its JSON; Unreadable if it was cut or is of a format that nobody here knows."""
    try:
        document = json.loads(text)
        version = str(document["format_version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnreadablePlan(
            "the plan that Terraform printed is no whole JSON; was Terraform ended? Try again"
        ) from None
    if version.partition(".")[0] not in FORMATS:
        raise UnreadablePlan(
            f"plans of format {version} are newer than this groundcrew reads (0 and 1); update groundcrew"
        )
    try:
        return _plan(document)
    except (KeyError, TypeError, AttributeError):
        raise UnreadablePlan(
            "the plan that Terraform printed lacks what every plan has; is the program Terraform?"
        ) from None


def _plan(document: Mapping[str, Any]) -> Plan:
    planned = [_change(entry) for entry in document.get("resource_changes") or () if entry.get("mode") != "data"]
    drift = [_change(entry) for entry in document.get("resource_drift") or () if entry.get("mode") != "data"]
    outputs = (_output(name, change) for name, change in (document.get("output_changes") or {}).items())
    return Plan(
        changes=tuple(one for one in planned if one.does_something),
        drift=tuple(_with_addresses(drift, planned)),
        outputs=tuple(one for one in outputs if one.action),
        unchanged={one.address: one for one in planned if not one.does_something},
    )


def _change(entry: Mapping[str, Any]) -> Change:
    change = entry["change"]
    address = entry.get("address", "")
    before_address = entry.get("previous_address", "")
    deposed = entry.get("deposed", "")
    return Change(
        address=f"{address} (deposed {deposed})" if deposed else address,
        type=entry["type"],
        action=_ACTIONS.get(tuple(change["actions"]), ""),
        before=change.get("before"),
        after=change.get("after"),
        name=(entry.get("module_address", ""), entry["type"], entry["name"]),
        unknown=change.get("after_unknown"),
        sensitive=(change.get("before_sensitive"), change.get("after_sensitive")),
        moved_from=before_address if before_address != address else "",
        imported_from=_imported_from(change.get("importing")),
    )


def _imported_from(importing: Mapping[str, Any] | None) -> str:
    """What the cloud calls a resource that the state is to take up: an ID, since 1.12 an identity, or not known yet."""
    if importing is None:
        return ""
    return str(importing.get("id") or values.short_text(importing.get("identity") or UNKNOWN))


def _with_addresses(drift: Iterable[Change], planned: Iterable[Change]) -> Iterator[Change]:
    """Terraform 1.0.0 leaves addresses out: of the planned ones of that name, it is the one that it became."""
    by_name: dict[tuple[str, str, str], list[Change]] = {}
    for one in planned:
        by_name.setdefault(one.name, []).append(one)
    for one in drift:
        if one.address:
            yield one
            continue
        several = by_name.get(one.name, [])
        fitting = [other for other in several if values.are_equal(other.before, one.after)] or several
        address = fitting[0].address if fitting else ".".join(part for part in one.name if part)
        yield Change(address, one.type, one.action, one.before, one.after, one.name, one.unknown, one.sensitive)


def _output(name: str, change: Mapping[str, Any]) -> OutputChange:
    action = _ACTIONS.get(tuple(change["actions"]), "")
    masks = (change.get("before_sensitive"), change.get("after_sensitive"))
    return OutputChange(
        name=name,
        action=action,
        before=change.get("before"),
        after=change.get("after"),
        is_known=not values.is_marked(change.get("after_unknown"), ()),
        is_sensitive=any(values.is_marked(mask, ()) for mask in masks),
    )
