"""Print drift reports as text, JSON and Markdown. Pure; the findings contain no sensitive values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inventories import Ignore
from inventories.printable import printable
from terraform.drift import MEANING, DriftFinding, DriftKind

MAX_ROWS = 100
"""The limit of rows in a Markdown table, since job summaries and comments have a maximum length."""


@dataclass(frozen=True, slots=True)
class StackReport:
    """The findings of one stack, or the error that prevented the check."""

    stack: str
    findings: tuple[DriftFinding, ...] = ()
    error: str = ""

    @property
    def drifted(self) -> list[DriftFinding]:
        """The changes made outside that no rule ignores."""
        return [finding for finding in self.findings if finding.kind.is_drift and not finding.ignored]

    @property
    def pending(self) -> list[DriftFinding]:
        """The changes in the code that are not applied yet."""
        return [finding for finding in self.findings if finding.kind is DriftKind.PENDING]

    @property
    def failed_checks(self) -> list[DriftFinding]:
        """The checks in the code that do not hold."""
        return [finding for finding in self.findings if finding.kind is DriftKind.CHECK_FAILED]

    @property
    def ignored(self) -> list[DriftFinding]:
        """The findings that a rule ignores."""
        return [finding for finding in self.findings if finding.ignored]

    @property
    def verdict(self) -> str:
        """The result in a few words."""
        if self.error:
            return "failed"
        counts = [f"{len(self.drifted)} drifted"] if self.drifted else []
        checks = "checks" if len(self.failed_checks) > 1 else "check"
        counts += [f"{len(self.failed_checks)} {checks} failed"] if self.failed_checks else []
        counts += [f"{len(self.pending)} pending"] if self.pending else []
        counts += [f"{len(self.ignored)} ignored"] if self.ignored else []
        return ", ".join(counts) or "clean"


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The reports of all stacks of one environment."""

    environment: str
    stacks: tuple[StackReport, ...]
    unmatched: tuple[Ignore, ...] = ()

    @property
    def drifted(self) -> bool:
        return any(stack.drifted for stack in self.stacks)

    @property
    def pending(self) -> bool:
        return any(stack.pending for stack in self.stacks)

    @property
    def has_failed_checks(self) -> bool:
        return any(stack.failed_checks for stack in self.stacks)

    @property
    def failed(self) -> bool:
        return any(stack.error for stack in self.stacks)

    @property
    def verdict(self) -> str:
        """The worst result of all stacks in a word or two."""
        results = {
            "failed": self.failed,
            "drift": self.drifted,
            DriftKind.CHECK_FAILED.value: self.has_failed_checks,
            "pending": self.pending,
        }
        return next((name for name, holds in results.items() if holds), "clean")


def as_text(report: DriftReport) -> Iterator[tuple[str, str]]:
    """Yield lines with their severity (bad, warn, good or quiet), the worst first.

    Stacks with the same error share one line.
    """
    for error in dict.fromkeys(stack.error for stack in report.stacks if stack.error):
        stacks = ", ".join(stack.stack for stack in report.stacks if stack.error == error)
        yield f"{report.environment}/{stacks}: {error}", "bad"
    checked = [stack for stack in report.stacks if not stack.error]
    for stack in sorted(checked, key=lambda stack: (not stack.drifted, not stack.failed_checks, not stack.pending)):
        severity = "bad" if stack.drifted else "warn" if stack.failed_checks or stack.pending else "good"
        width = max([10, *(len(finding.kind) for finding in stack.findings)])
        yield f"{report.environment}/{stack.stack}: {stack.verdict}", severity
        for finding in stack.findings:
            reason = f"  (ignored: {finding.ignored})" if finding.ignored else ""
            author = f"  (last changed by {finding.by})" if finding.by else ""
            line = f"  {finding.kind:<{width}}  {finding.what}: {finding.sentence}{reason}{author}"
            yield line, "quiet" if reason else ""
    for rule in report.unmatched:
        yield f"{report.environment}: drift.ignore {_rule(rule)} matches no finding any more; remove it", "warn"


def as_json(report: DriftReport) -> dict[str, Any]:
    """Return the report as a JSON object."""
    return {
        "environment": report.environment,
        "drifted": report.drifted,
        "pending": report.pending,
        "check_failed": report.has_failed_checks,
        "failed": report.failed,
        "stacks": [
            {
                "stack": stack.stack,
                "error": stack.error or None,
                "findings": [_finding_as_json(finding) for finding in stack.findings],
            }
            for stack in report.stacks
        ],
        "unmatched_rules": [
            {"resource": rule.resource, "attribute": rule.attribute, "why": rule.why} for rule in report.unmatched
        ],
    }


def _finding_as_json(finding: DriftFinding) -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "address": finding.address,
        "attribute": finding.attribute or None,
        "before": finding.before,
        "now": finding.now,
        "action": finding.action or None,
        "ignored": finding.ignored or None,
        "last_changed_by": finding.by or None,
    }


def as_markdown(report: DriftReport) -> Iterator[str]:
    """Yield the lines of a Markdown report for a job summary, an issue or a comment."""
    yield f"### {_escaped(report.environment)}: {report.verdict}"
    yield ""
    yield "| stack | |"
    yield "|---|---|"
    for stack in report.stacks:
        yield f"| {_escaped(stack.stack)} | {_code(stack.error) or stack.verdict} |"
    yield ""
    yield from _findings(report)
    for rule in report.unmatched:
        yield f"- The rule {_code(_rule(rule))} matches no finding any more: remove it."


def _findings(report: DriftReport) -> Iterator[str]:
    rows = [(stack.stack, finding) for stack in report.stacks for finding in stack.findings]
    if not rows:
        return
    yield "| stack | what | resource | before | now |"
    yield "|---|---|---|---|---|"
    for name, finding in rows[:MAX_ROWS]:
        kind = f"{finding.kind} (ignored: {_escaped(finding.ignored)})" if finding.ignored else finding.kind.value
        before, now = _code(finding.before), _code(finding.now)
        if not finding.attribute:
            from_outside = finding.kind is DriftKind.CHECK_FAILED  # the message of a check can contain any value
            before, now = "", _code(finding.sentence) if from_outside else finding.sentence
        author = f" (last changed by {_code(finding.by)})" if finding.by else ""
        yield f"| {_escaped(name)} | {kind} | {_code(finding.what)} | {before} | {now}{author} |"
    yield ""
    if len(rows) > MAX_ROWS:
        yield f"And {len(rows) - MAX_ROWS} more: `crew drift {report.environment}`."
        yield ""
    for kind in dict.fromkeys(finding.kind for _, finding in rows):
        yield f"- **{kind}**: {MEANING[kind]}"


def _rule(rule: Ignore) -> str:
    return f"{rule.resource} {rule.attribute or ''}".strip()


def _escaped(text: str) -> str:
    """Escape text for a cell of a Markdown table."""
    return re.sub(r"([\\`*_\[\]<>|#@])", r"\\\1", printable(" ".join(text.split())))


def _code(text: str) -> str:
    """Format a value as code for a cell of a Markdown table, with a fence longer than any inside the value."""
    text = printable(" ".join(text.split())).replace("|", "\\|")
    fence = "`" * (max((len(inner) for inner in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}" if text else ""
