"""The order of stacks, and what a failure skips."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from terraform import order
from terraform.errors import StackError
from tests.parts.patience import deadline


def run(after: Mapping[str, Sequence[str]], failing: str = "", backwards: bool = False) -> tuple[list[str], list[Any]]:
    started: list[str] = []

    def work(stack: str) -> str:
        started.append(stack)
        if stack == failing:
            raise StackError("broken")
        return stack

    outcomes = order.run_in_order(order.dependencies(tuple(after), after, backwards=backwards), work)
    return started, [
        (outcome.stack, str(outcome.error or outcome.skipped_for or outcome.value)) for outcome in outcomes
    ]


CHAIN: Mapping[str, Sequence[str]] = {"app": ["cluster"], "cluster": ["network"], "network": [], "backups": []}


def test_dependencies_run_first() -> None:
    started, _ = run(CHAIN)
    assert [stack for stack in started if stack != "backups"] == ["network", "cluster", "app"]


def test_backwards_dependents_run_first() -> None:
    started, _ = run(CHAIN, backwards=True)
    assert [stack for stack in started if stack != "backups"] == ["app", "cluster", "network"]


def test_a_failure_skips_only_its_dependents() -> None:
    _, outcomes = run(CHAIN, failing="network")
    assert outcomes == [("app", "network"), ("cluster", "network"), ("network", "broken"), ("backups", "backups")]


def test_an_unnamed_dependency_is_expected_to_exist() -> None:
    assert order.dependencies(["cluster"], CHAIN, backwards=False) == {"cluster": set()}


def test_independent_stacks_run_in_parallel() -> None:
    barrier = threading.Barrier(2, timeout=deadline(10))
    outcomes = order.run_in_order({"a": set(), "b": set()}, lambda _: barrier.wait() >= 0)
    assert [outcome.value for outcome in outcomes] == [True, True]


@pytest.mark.parametrize(
    ("unapplied", "expected"),
    [(["network"], "network"), (["cluster", "network"], "cluster"), (["backups", "app"], ""), ([], "")],
)
def test_a_stack_waits_for_the_nearest_one_that_is_not_applied(unapplied: list[str], expected: str) -> None:
    assert order.unapplied_dependency("app", CHAIN, unapplied.__contains__) == expected
