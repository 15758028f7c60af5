"""Parse a plan as `terraform show -json` prints it: planned changes, and changes made outside. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inventories.printable import printable
from terraform import values
from terraform.errors import UnreadablePlan
from terraform.values import UNKNOWN, Path

FORMATS = ("0", "1")
MAX_DEPTH = 100
"""How deep values are nested at most; Python ends a deeper recursion with an error. Plans stay far below."""

_FAILED = ("fail", "error")
_READ = "read"
_ACTIONS = {
    (): "",
    ("no-op",): "",
    ("read",): _READ,
    ("create",): "create",
    ("update",): "update",
    ("delete",): "destroy",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("forget",): "forget",
    ("create", "forget"): "replace",
    ("forget", "create"): "replace",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One resource in a plan, or in its list of outside changes: the values before and after, and which are secret."""

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
    is_forgotten: bool = False
    """Whether the present object only leaves the state, and stays in the cloud."""

    @property
    def does_something(self) -> bool:
        """Whether an apply does anything to the resource or its state entry."""
        return bool(self.action or self.moved_from or self.imported_from)

    @property
    def destroys(self) -> bool:
        """Whether an apply destroys the resource, with or without a replacement."""
        return self.action in ("destroy", "replace") and not self.is_forgotten

    def edits(self) -> Iterator[Path]:
        """Yield the paths of values that change and are known before apply."""
        known = (path for path in values.differing_paths(self.before, self.after) if not self.is_unknown(path))
        yield from known

    def mark_edits(self) -> Iterator[tuple[Path, bool]]:
        """Yield each value that stays and is marked as sensitive from now on (true), or no longer (false)."""
        before, after = self.sensitive[:2] or (None, None)
        for path in sorted({*values.marked_paths(before), *values.marked_paths(after)}, key=repr):
            was, becomes = values.is_marked(before, path), values.is_marked(after, path)
            old, new = values.value_at(self.before, path), values.value_at(self.after, path)
            if was != becomes and not values.is_empty(new) and values.are_equal(old, new):
                yield path, becomes

    def is_unknown(self, path: Path) -> bool:
        """Return whether the value is known only after apply."""
        return values.is_marked(self.unknown, path)

    def is_sensitive(self, path: Path) -> bool:
        """Return whether Terraform or the provider marks the value as sensitive."""
        return any(values.is_marked(mask, path) for mask in self.sensitive)


@dataclass(frozen=True, slots=True)
class OutputChange:
    """An output whose value changes."""

    name: str
    action: str
    before: Any
    after: Any
    is_known: bool
    is_sensitive: bool

    @property
    def changes_only_marks(self) -> bool:
        """Whether the value stays, and only becomes sensitive or not: plans do not say which."""
        return self.action == "update" and self.is_known and bool(self.before == self.after)


@dataclass(frozen=True, slots=True)
class Invocation:
    """An action that an apply invokes (since Terraform 1.14), and the event that triggers it."""

    address: str
    trigger: str


@dataclass(frozen=True, slots=True)
class DeferredChange:
    """A change or an invocation that Terraform leaves to a later plan, and why."""

    address: str
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """A check of the code that does not hold, and its message."""

    address: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan. Unchanged resources are kept apart, by address."""

    changes: tuple[Change, ...] = ()
    drift: tuple[Change, ...] = ()
    outputs: tuple[OutputChange, ...] = ()
    unchanged: Mapping[str, Change] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    """The addresses of data sources that Terraform reads during the apply."""
    invocations: tuple[Invocation, ...] = ()
    deferred: tuple[DeferredChange, ...] = ()
    failed_checks: tuple[FailedCheck, ...] = ()
    is_complete: bool = True
    """Whether nothing is left to plan after the apply."""
    is_errored: bool = False
    """Whether Terraform stopped with an error while it planned."""

    @property
    def makes_something(self) -> bool:
        """Whether an apply creates, updates or replaces a resource, or invokes an action."""
        made = any(change.action in ("create", "update", "replace") for change in self.changes)
        return made or bool(self.invocations)

    @property
    def is_empty(self) -> bool:
        """Whether an apply has nothing to do."""
        return not (self.changes or self.outputs or self.reads or self.invocations)


def parse_plan(text: str | bytes) -> Plan:
    """Parse the JSON of a plan; raise UnreadablePlan if it is incomplete or has an unknown format."""
    try:
        document = json.loads(text)
        version = printable(str(document["format_version"])[:20])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnreadablePlan(
            "the plan that Terraform printed is incomplete JSON; if Terraform was stopped, try again"
        ) from None
    if version.partition(".")[0] not in FORMATS:
        raise UnreadablePlan(f"plan format {version} is newer than this groundcrew reads (0 and 1); update groundcrew")
    if _is_deeper(list(document.values()), MAX_DEPTH):
        raise UnreadablePlan(f"the plan that Terraform printed has values nested more than {MAX_DEPTH} levels deep")
    try:
        return _plan(document)
    except (KeyError, TypeError, AttributeError):
        raise UnreadablePlan(
            "the plan that Terraform printed lacks required fields; check that the program is Terraform or OpenTofu"
        ) from None


def _is_deeper(values_of_a_level: Sequence[Any], levels: int) -> bool:
    """Return whether values are nested more than this many levels deep, without a recursion."""
    level = values_of_a_level
    for _ in range(levels):
        objects = [inner for each in level if type(each) is dict for inner in each.values()]
        level = [inner for each in level if type(each) is list for inner in each] + objects
        if not level:
            return False
    return True


def _plan(document: Mapping[str, Any]) -> Plan:
    entries = document.get("resource_changes") or ()
    planned = [_change(entry) for entry in entries if entry.get("mode") != "data"]
    drift = [_change(entry) for entry in document.get("resource_drift") or () if entry.get("mode") != "data"]
    reads = (_name(entry["address"]) for entry in entries if _action(_name(entry["address"]), entry["change"]) == _READ)
    outputs = (_output(name, change) for name, change in (document.get("output_changes") or {}).items())
    return Plan(
        changes=tuple(change for change in planned if change.does_something),
        drift=tuple(_with_addresses(drift, planned)),
        outputs=tuple(change for change in outputs if change.action),
        unchanged={change.address: change for change in planned if not change.does_something},
        reads=tuple(reads),
        invocations=tuple(_invocation(entry) for entry in document.get("action_invocations") or ()),
        deferred=tuple(_deferred(document)),
        failed_checks=tuple(_failed_checks(document.get("checks") or ())),
        is_complete=document.get("complete") is not False,
        is_errored=document.get("errored") is True,
    )


def _invocation(entry: Mapping[str, Any]) -> Invocation:
    trigger = entry.get("lifecycle_action_trigger") or {}
    event = _words(trigger.get("action_trigger_event") or "")
    resource = _name(trigger.get("triggering_resource_address") or "")
    return Invocation(_name(entry["address"]), f"{event} of {resource}" if event and resource else "")


def _deferred(document: Mapping[str, Any]) -> Iterator[DeferredChange]:
    """Yield what Terraform leaves to a later plan, from both of its lists."""
    for entry in document.get("deferred_changes") or ():
        resource = entry.get("resource_change") or {}
        address = _name(resource.get("address") or "a resource")
        action = _action(address, resource["change"]) if "change" in resource else "change"
        yield DeferredChange(address, action or "import", _words(entry.get("reason") or "unknown reason"))
    for entry in document.get("deferred_action_invocations") or ():
        address = _name((entry.get("action_invocation") or {}).get("address") or "an action")
        yield DeferredChange(address, "invoke", _words(entry.get("reason") or "unknown reason"))


def _words(name: str) -> str:
    """Return the words of a name of Terraform's, such as AfterCreate or provider_config_unknown."""
    return _name(re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower())


def _name(text: Any) -> str:
    """Return a name or a message from the plan, safe to print; raise TypeError if it is no text."""
    if not isinstance(text, str):
        raise TypeError(f"{type(text).__name__} instead of text")
    return printable(text)


def _failed_checks(checks: Iterable[Mapping[str, Any]]) -> Iterator[FailedCheck]:
    """Yield each failed instance of a check, or the check itself if it has none."""
    for check in checks:
        failed = [instance for instance in check.get("instances") or () if instance.get("status") in _FAILED]
        if check.get("status") in _FAILED:
            for instance in failed or [check]:
                messages = [_name(problem["message"]) for problem in instance.get("problems") or ()]
                yield FailedCheck(
                    _name(instance["address"]["to_display"]), "; ".join(messages) or "cannot be evaluated"
                )


def _action(address: str, change: Mapping[str, Any]) -> str:
    """Return our word for what a plan does; raise UnreadablePlan with an action that is not known."""
    actions = change["actions"]
    action = _ACTIONS.get(tuple(actions))
    if action is None:
        unknown = f"this groundcrew does not know the action {json.dumps(actions)}"
        raise UnreadablePlan(f"{address or 'the plan'}: {unknown}; update groundcrew")
    return action


def _change(entry: Mapping[str, Any]) -> Change:
    change = entry["change"]
    address = _name(entry.get("address") or "")
    before_address = _name(entry.get("previous_address") or "")
    deposed = _name(entry.get("deposed") or "")
    action = _action(address, change)
    return Change(
        address=f"{address} (deposed {deposed})" if deposed else address,
        type=_name(entry["type"]),
        action="" if action == _READ else action,
        before=_attributes(change.get("before")),
        after=_attributes(change.get("after")),
        name=(_name(entry.get("module_address") or ""), _name(entry["type"]), _name(entry.get("name") or "")),
        unknown=change.get("after_unknown"),
        sensitive=(change.get("before_sensitive"), change.get("after_sensitive")),
        moved_from=before_address if before_address != address else "",
        imported_from=_imported_from(change.get("importing")),
        is_forgotten="forget" in change["actions"],
    )


def _attributes(value: Any) -> dict[str, Any] | None:
    """Return the attributes of a resource; raise TypeError if they are no object."""
    if not isinstance(value, dict | None):
        raise TypeError(f"{type(value).__name__} instead of attributes")
    return value


def _imported_from(importing: Mapping[str, Any] | None) -> str:
    """Return how the cloud names a resource to import: its ID, since Terraform 1.12 an identity, or not known yet."""
    if importing is None:
        return ""
    return values.short_text(importing.get("id") or importing.get("identity") or UNKNOWN)


def _with_addresses(drift: Iterable[Change], planned: Iterable[Change]) -> Iterator[Change]:
    """Add the addresses that Terraform 1.0.0 leaves out: take the planned resource with the same name and values."""
    by_name: dict[tuple[str, str, str], list[Change]] = {}
    for change in planned:
        by_name.setdefault(change.name, []).append(change)
    for change in drift:
        if change.address:
            yield change
            continue
        same_name = by_name.get(change.name, [])
        matches = [
            candidate for candidate in same_name if values.are_equal(candidate.before, change.after)
        ] or same_name
        address = matches[0].address if matches else ".".join(part for part in change.name if part)
        yield Change(
            address,
            change.type,
            change.action,
            change.before,
            change.after,
            change.name,
            change.unknown,
            change.sensitive,
        )


def _output(name: str, change: Mapping[str, Any]) -> OutputChange:
    name = _name(name)
    action = _action(f"output.{name}", change)
    masks = (change.get("before_sensitive"), change.get("after_sensitive"))
    return OutputChange(
        name=name,
        action=action,
        before=change.get("before"),
        after=change.get("after"),
        is_known=not values.is_marked(change.get("after_unknown"), ()),
        is_sensitive=any(values.is_marked(mask, ()) for mask in masks),
    )
