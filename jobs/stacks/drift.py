"""The job `drift`: compares each stack with the cloud, so that new, changed and resolved drift causes an alert."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.format import and_more
from jobs.run.job import Failed, Job, Options, Outcome, Result, Run, Transient, UnknownName

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.store import Store
    from terraform.drift import DriftFinding, DriftKind

FINDINGS_SHOWN = 3


def work(run: Run) -> Result:
    """Find the drift of one stack."""
    from jobs.stacks.execution import immediate_start, open_stack
    from terraform.errors import StackError, TemporaryStackError
    from terraform.find_drift import find_drift

    try:
        return drift_result(find_drift(open_stack(run.environment, run.subject, immediate_start(run))))
    except TemporaryStackError as error:
        raise Transient(str(error)) from None
    except StackError as error:
        raise Failed(str(error)) from None


def drift_result(findings: Sequence[DriftFinding]) -> Result:
    """Return the result of a run: drift is a finding; code that is not applied yet (pending) is not."""
    counted = Counter(finding.kind for finding in findings if not finding.ignored)
    figures = {
        **{kind.value.replace(" ", "_"): counted[kind] for kind in _kinds() if kind.is_change or counted[kind]},
        "ignored": sum(bool(finding.ignored) for finding in findings),
    }
    counts = ", ".join(f"{counted[kind]} {kind.value}" for kind in _kinds() if counted[kind])
    drifted = [finding for finding in findings if finding.kind.is_drift and not finding.ignored]
    if not drifted:
        return Result(Outcome.DONE, f"no drift; {counts}" if counts else "no drift", figures)
    details = and_more([f"{finding.kind}: {finding.what}" for finding in drifted], FINDINGS_SHOWN)
    return Result(Outcome.FINDING, f"{counts} ({details})", figures, about=_fingerprint(drifted))


def _kinds() -> Sequence[DriftKind]:
    from terraform.drift import DriftKind

    return tuple(DriftKind)


def _fingerprint(drifted: Sequence[DriftFinding]) -> str:
    """Return a hash that changes with the drift and reveals nothing about it."""
    text = repr(sorted((finding.kind.value, finding.what, finding.now) for finding in drifted))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def subjects(environment: Environment, _store: Store, options: Options) -> Sequence[str]:
    """Return the selected stacks (default: all)."""
    unknown = [name for name in options.only if name not in environment.stacks]
    if unknown:
        raise UnknownName(f"{environment.name}: no stack {unknown[0]}; {list_stacks(environment)}")
    return options.only or tuple(environment.stacks)


def list_stacks(environment: Environment) -> str:
    """Return the names of the stacks, as the end of an error."""
    return f"its stacks: {', '.join(environment.stacks)}" if environment.stacks else "it has no stacks"


def schedule(environment: Environment, _stack: str) -> str | None:
    """Return the cron line, which all stacks share."""
    return str(environment.drift.check) if environment.drift and environment.drift.check else None


DRIFT = Job(
    "drift", subjects, work, schedule,
    limit=lambda _environment, _stack: timedelta(minutes=30), max_parallel=4,
    has_subject=lambda environment, stack: stack in environment.stacks,
)  # fmt: skip
