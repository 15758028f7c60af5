"""The job that watches over the stacks: a record for each, and news of drift that came, changed or went."""

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
    """Look at one stack."""
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
    """What a run says of itself: drift is a finding, code that is not applied yet is not."""
    counted = Counter(one.kind for one in findings if not one.ignored)
    figures = {
        **{kind.value.replace(" ", "_"): counted[kind] for kind in _kinds()},
        "ignored": sum(bool(one.ignored) for one in findings),
    }
    told = ", ".join(f"{counted[kind]} {kind.value}" for kind in _kinds() if counted[kind])
    drifted = [one for one in findings if one.kind.is_drift and not one.ignored]
    if not drifted:
        return Result(Outcome.DONE, f"no drift; {told}" if told else "as it should be", figures)
    drifted_resources = and_more([f"{one.kind}: {one.what}" for one in drifted], FINDINGS_SHOWN)
    return Result(Outcome.FINDING, f"{told} ({drifted_resources})", figures, about=_mark(drifted))


def _kinds() -> Sequence[DriftKind]:
    from terraform.drift import DriftKind

    return tuple(DriftKind)


def _mark(drifted: Sequence[DriftFinding]) -> str:
    """Tells one drift from another, without saying what it is."""
    told = repr(sorted((one.kind.value, one.what, one.now) for one in drifted))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def subjects(environment: Environment, _store: Store, options: Options) -> Sequence[str]:
    """The stacks."""
    unknown = [name for name in options.only if name not in environment.stacks]
    if unknown:
        raise UnknownName(f"{environment.name}: there is no stack {unknown[0]}; {list_stacks(environment)}")
    return options.only or tuple(environment.stacks)


def list_stacks(environment: Environment) -> str:
    """The stacks, in words."""
    return f"there are {', '.join(environment.stacks)}" if environment.stacks else "it has none"


def schedule(environment: Environment, _stack: str) -> str | None:
    """One line for all stacks."""
    return str(environment.drift.check) if environment.drift and environment.drift.check else None


DRIFT = Job(
    "drift", subjects, work, schedule,
    limit=lambda _environment, _stack: timedelta(minutes=30), max_parallel=4,
    has_subject=lambda environment, stack: stack in environment.stacks,
)  # fmt: skip
