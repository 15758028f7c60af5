"""What was found out about stacks, as text, JSON and Markdown. Pure; sensitive values are gone by now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inventories import Ignore
from terraform.drift import MEANING, DriftFinding, DriftKind

MAX_ROWS = 100
"""Rows of a table in Markdown: job summaries and comments have limits."""


@dataclass(frozen=True, slots=True)
class StackReport:
    """One stack that was looked at: its findings, or why it could not be."""

    stack: str
    findings: tuple[DriftFinding, ...] = ()
    error: str = ""

    @property
    def drifted(self) -> list[DriftFinding]:
        """What somebody changed outside and nobody ignores."""
        return [one for one in self.findings if one.kind.is_drift and not one.ignored]

    @property
    def pending(self) -> list[DriftFinding]:
        """What the code has and nobody applied."""
        return [one for one in self.findings if one.kind is DriftKind.PENDING]

    @property
    def ignored(self) -> list[DriftFinding]:
        """What a rule lets be."""
        return [one for one in self.findings if one.ignored]

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.error:
            return "failed"
        told = [f"{len(self.drifted)} drifted"] if self.drifted else []
        told += [f"{len(self.pending)} pending"] if self.pending else []
        told += [f"{len(self.ignored)} ignored"] if self.ignored else []
        return ", ".join(told) or "clean"


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All stacks of one environment."""

    environment: str
    stacks: tuple[StackReport, ...]
    unmatched: tuple[Ignore, ...] = ()

    @property
    def drifted(self) -> bool:
        return any(one.drifted for one in self.stacks)

    @property
    def pending(self) -> bool:
        return any(one.pending for one in self.stacks)

    @property
    def failed(self) -> bool:
        return any(one.error for one in self.stacks)


def as_text(report: DriftReport) -> Iterator[tuple[str, str]]:
    """Lines and how loud each is: bad, warn, good or quiet. The worst on top; what all stumbled over is told once."""
    for error in dict.fromkeys(one.error for one in report.stacks if one.error):
        stacks = ", ".join(one.stack for one in report.stacks if one.error == error)
        yield f"{report.environment}/{stacks}: {error}", "bad"
    seen_well = [one for one in report.stacks if not one.error]
    for seen in sorted(seen_well, key=lambda one: (not one.drifted, not one.pending)):
        loud = "bad" if seen.drifted else "warn" if seen.pending else "good"
        yield f"{report.environment}/{seen.stack}: {seen.verdict}", loud
        for one in seen.findings:
            quiet = f"  (ignored: {one.ignored})" if one.ignored else ""
            yield f"  {one.kind:<10}  {one.what}: {one.sentence}{quiet}", "quiet" if quiet else ""
    for rule in report.unmatched:
        yield f"{report.environment}: no finding meets drift.ignore {_rule(rule)} any more; take it out", "warn"


def as_json(report: DriftReport) -> dict[str, Any]:
    """For machines."""
    return {
        "environment": report.environment,
        "drifted": report.drifted,
        "pending": report.pending,
        "failed": report.failed,
        "stacks": [
            {"stack": seen.stack, "error": seen.error or None, "findings": [_told(one) for one in seen.findings]}
            for seen in report.stacks
        ],
        "unmatched_rules": [
            {"resource": rule.resource, "attribute": rule.attribute, "why": rule.why} for rule in report.unmatched
        ],
    }


def _told(one: DriftFinding) -> dict[str, Any]:
    return {
        "kind": one.kind.value,
        "address": one.address,
        "attribute": one.attribute or None,
        "before": one.before,
        "now": one.now,
        "action": one.action or None,
        "ignored": one.ignored or None,
    }


def as_markdown(report: DriftReport) -> Iterator[str]:
    """For a job summary, an issue, a comment."""
    word = "failed" if report.failed else "drift" if report.drifted else "pending" if report.pending else "clean"
    yield f"### {_plain(report.environment)}: {word}"
    yield ""
    yield "| stack | |"
    yield "|---|---|"
    for seen in report.stacks:
        yield f"| {_plain(seen.stack)} | {_plain(seen.error or seen.verdict)} |"
    yield ""
    yield from _findings(report)
    for rule in report.unmatched:
        yield f"- No finding meets the rule {_code(_rule(rule))} any more: take it out."


def _findings(report: DriftReport) -> Iterator[str]:
    rows = [(seen.stack, one) for seen in report.stacks for one in seen.findings]
    if not rows:
        return
    yield "| stack | what | resource | before | now |"
    yield "|---|---|---|---|---|"
    for stack, one in rows[:MAX_ROWS]:
        kind = f"{one.kind} (ignored: {_plain(one.ignored)})" if one.ignored else one.kind.value
        before, now = (_code(one.before), _code(one.now)) if one.attribute else ("", _plain(one.sentence))
        yield f"| {_plain(stack)} | {kind} | {_code(one.what)} | {before} | {now} |"
    yield ""
    if len(rows) > MAX_ROWS:
        yield f"And {len(rows) - MAX_ROWS} more: `crew drift {report.environment}`."
        yield ""
    for kind in dict.fromkeys(one.kind for _, one in rows):
        yield f"- **{kind}**: {MEANING[kind]}"


def _rule(rule: Ignore) -> str:
    return f"{rule.resource} {rule.attribute or ''}".strip()


def _plain(text: str) -> str:
    """Text that Markdown takes as text, in a cell."""
    return re.sub(r"([\\`*_\[\]<>|#@])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """A value as code in a cell; a longer fence than any inside it."""
    text = " ".join(text.split()).replace("|", "\\|")
    fence = "`" * (max((len(found) for found in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}" if text else ""
