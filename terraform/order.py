"""Stacks one after another where one wants the other, and side by side where nothing ties them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StackOutcome(Generic[T]):
    """How it went with one stack: a value, or why there is none, or of which failure it was skipped."""

    stack: str
    value: T | None = None
    error: Exception | None = None
    skipped_for: str = ""


def dependencies(stacks: Sequence[str], after: Mapping[str, Sequence[str]], *, backwards: bool) -> dict[str, set[str]]:
    """Which of these stacks each has to wait for; others are taken to be there. Backwards, for destroying."""
    ties = [(one, other) for one in stacks for other in after.get(one, ()) if other in stacks]
    waits: dict[str, set[str]] = {one: set() for one in stacks}
    for one, other in ties:
        first, then = (one, other) if backwards else (other, one)
        waits[then].add(first)
    return waits


def run_in_order(waits: Mapping[str, set[str]], work: Callable[[str], T], at_once: int = 4) -> list[StackOutcome[T]]:
    """Work on each stack once those it waits for have ended well; what waits for a failure is skipped and says so."""
    sorter = TopologicalSorter(waits)
    sorter.prepare()
    ended: dict[str, StackOutcome[T]] = {}
    running: dict[Future[StackOutcome[T]], str] = {}
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        while sorter.is_active():
            for stack in sorter.get_ready():
                failed = next((other for other in sorted(waits[stack]) if ended[other].value is None), None)
                if failed is None:
                    running[pool.submit(_tried, stack, work)] = stack
                else:
                    ended[stack] = StackOutcome(stack, skipped_for=ended[failed].skipped_for or failed)
                    sorter.done(stack)
            done = wait(running, return_when=FIRST_COMPLETED).done if running else ()
            for future in done:
                stack = running.pop(future)
                ended[stack] = future.result()
                sorter.done(stack)
    return [ended[stack] for stack in waits]


def _tried(stack: str, work: Callable[[str], T]) -> StackOutcome[T]:
    try:
        return StackOutcome(stack, value=work(stack))
    except Exception as error:
        return StackOutcome(stack, error=error)
