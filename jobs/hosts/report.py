"""What deploys would change on hosts, as values. Pure.

The child process sends a comparison as JSON. The job treats it as data from outside: `parse_comparison` checks it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from inventories import CrewError, HostIgnore, redact
from inventories.patterns import name_pattern

FORMAT = 1
MAX_TEXT = 300


class BadComparison(CrewError):
    """The answer of the child process is not a comparison."""


@dataclass(frozen=True, slots=True)
class HostChange:
    """An operation that would change a host."""

    host: str
    operation: str
    target: str = ""  # the file, unit or package that it changes; empty if the operation does not say
    detail: str = ""  # how that differs, in words
    ignored: str = ""  # the reason of the rule that ignores it

    @property
    def what(self) -> str:
        """The host, what differs there, and how."""
        shown = self.target if self.target == self.operation else f"{self.operation} {self.target}"
        return f"{self.host}: {' '.join([shown.strip(), self.detail]).strip()}"


@dataclass(frozen=True, slots=True)
class ComparedHost:
    """One host: the changes that a deploy would make there, or why it could not be compared."""

    name: str
    operations: int = 0
    changes: tuple[HostChange, ...] = ()
    error: str = ""
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class HostComparison:
    """All hosts of an environment, compared with one deploy; `error` says why that was not possible at all."""

    hosts: tuple[ComparedHost, ...] = ()
    error: str = ""

    @property
    def failed(self) -> list[ComparedHost]:
        """The hosts that could not be compared."""
        return [host for host in self.hosts if host.error]

    @property
    def changes(self) -> list[HostChange]:
        """All changes, the ignored ones last."""
        every = (change for host in self.hosts for change in host.changes)
        return sorted(every, key=lambda change: bool(change.ignored))

    @property
    def drift(self) -> list[HostChange]:
        """The changes that no rule ignores."""
        return [change for change in self.changes if not change.ignored]


def comparison_json(comparison: HostComparison) -> str:
    """Return a comparison as the child process sends it."""
    return json.dumps({"format": FORMAT, **asdict(comparison)})


def parse_comparison(text: str) -> HostComparison:
    """Return a comparison from the answer of the child process; BadComparison if that is anything else."""
    try:
        fields = json.loads(text)
        hosts, error = tuple(map(_host, _list(fields["hosts"]))), safe_text(fields["error"])
        is_known = fields["format"] == FORMAT
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise BadComparison(f"the comparison gave an answer that is not valid ({type(fault).__name__})") from None
    if not is_known:
        raise BadComparison("the comparison gave an answer in another format")
    return HostComparison(hosts, error)


def _host(fields: Mapping[str, Any]) -> ComparedHost:
    name, operations = safe_text(fields["name"]), fields["operations"]
    if type(operations) is not int or type(fields["unreachable"]) is not bool:
        raise TypeError("not a host")
    changes = tuple(
        HostChange(name, safe_text(each["operation"]), safe_text(each["target"]), safe_text(each["detail"]))
        for each in _list(fields["changes"])
    )
    return ComparedHost(name, operations, changes, safe_text(fields["error"]), fields["unreachable"])


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def safe_text(value: object) -> str:
    """Return a text without secrets, on one line and not too long."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    line = " ".join(redact(value).split())
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…"


def with_ignored(comparison: HostComparison, rules: Sequence[HostIgnore]) -> HostComparison:
    """Return the comparison with the reason of the first rule that matches each change."""
    return replace(
        comparison,
        hosts=tuple(
            replace(host, changes=tuple(replace(each, ignored=_reason(each, rules)) for each in host.changes))
            for host in comparison.hosts
        ),
    )


def _reason(change: HostChange, rules: Sequence[HostIgnore]) -> str:
    return next((rule.why for rule in rules if _ignores(rule, change)), "")


def _ignores(rule: HostIgnore, change: HostChange) -> bool:
    if not name_pattern(rule.host).match(change.host):
        return False
    names = (change.operation, *change.target.split(", "))
    return rule.operation is None or any(name_pattern(rule.operation).match(name) for name in names if name)
