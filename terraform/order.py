"""Run work on stacks in the order of their dependencies; independent stacks run in parallel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StackOutcome(Generic[T]):
    """The outcome for one stack: a value, an error, or another stack, which failed or must be applied first."""

    stack: str
    value: T | None = None
    error: Exception | None = None
    skipped_for: str = ""
    waits_for: str = ""


def dependencies(stacks: Sequence[str], after: Mapping[str, Sequence[str]], *, backwards: bool) -> dict[str, set[str]]:
    """Return the stacks that each of these stacks waits for; backwards, for destroying.

    Stacks that are not in `stacks` are expected to exist.
    """
    pairs = [(stack, other) for stack in stacks for other in after.get(stack, ()) if other in stacks]
    waits: dict[str, set[str]] = {stack: set() for stack in stacks}
    for stack, other in pairs:
        first, then = (stack, other) if backwards else (other, stack)
        waits[then].add(first)
    return waits


def unapplied_dependency(stack: str, after: Mapping[str, Sequence[str]], is_unapplied: Callable[[str], bool]) -> str:
    """Return the nearest stack that this one comes after and that is not applied yet; empty if there is none."""
    level, seen = list(after.get(stack, ())), set[str]()
    while level:
        for other in level:
            if is_unapplied(other):
                return other
        seen.update(level)
        level = [further for other in level for further in after.get(other, ()) if further not in seen]
    return ""


def run_in_order(waits: Mapping[str, set[str]], work: Callable[[str], T], parallel: int = 4) -> list[StackOutcome[T]]:
    """Run the work on each stack when its dependencies have succeeded; skip the stacks that depend on a failure."""
    sorter = TopologicalSorter(waits)
    sorter.prepare()
    outcomes: dict[str, StackOutcome[T]] = {}
    running: dict[Future[StackOutcome[T]], str] = {}
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        while sorter.is_active():
            for stack in sorter.get_ready():
                failed = next((other for other in sorted(waits[stack]) if outcomes[other].value is None), None)
                if failed is None:
                    running[pool.submit(_outcome, stack, work)] = stack
                else:
                    outcomes[stack] = StackOutcome(stack, skipped_for=outcomes[failed].skipped_for or failed)
                    sorter.done(stack)
            done = wait(running, return_when=FIRST_COMPLETED).done if running else ()
            for future in done:
                stack = running.pop(future)
                outcomes[stack] = future.result()
                sorter.done(stack)
    return [outcomes[stack] for stack in waits]


def _outcome(stack: str, work: Callable[[str], T]) -> StackOutcome[T]:
    try:
        return StackOutcome(stack, value=work(stack))
    except Exception as error:
        return StackOutcome(stack, error=error)
