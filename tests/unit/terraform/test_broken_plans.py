"""Broken plans: whatever a plan holds, reading and showing it ends well or with an error that explains itself."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

from inventories import CrewError, Ignore
from terraform import drift, guard, report, summary
from terraform.errors import UnreadablePlan
from terraform.masking import masked_plan
from terraform.plan import parse_plan
from tests.unit.terraform.plan_json import entry

NESTED = {"policy": '{"a": [1, {"b": 2}]}', "rules": [{"p": 1}, {"p": 2}], "tags": {"keep": "no"}, "tags_all": {}}
CHECK = {"to_display": "check.c"}
WHOLE: dict[str, Any] = {
    "format_version": "1.2",
    "complete": False,
    "errored": False,
    "resource_drift": [
        entry("a.x", ["update"], {"n": 1, **NESTED}, {"n": 2, **NESTED}, after_sensitive={"n": True}),
        entry("a.gone", ["delete"], {"n": 1}, None),
    ],
    "resource_changes": [
        entry("a.x", ["update"], {"n": 2, **NESTED}, {"n": 1, "tags": {"keep": "x"}}, before_sensitive={"tags": {}}),
        entry("a.y[0]", ["create", "delete"], NESTED, NESTED, after_unknown={"rules": [{"p": True}]}, deposed="ab"),
        entry("a.i", ["no-op"], {}, {}, importing={"identity": {"arn": "x"}}, previous_address="a.was"),
        entry("data.a.r", ["read"], None, {}, mode="data"),
    ],
    "output_changes": {"o": {"actions": ["update"], "before": [1], "after": {"a": 1}, "after_unknown": {"a": True}}},
    "checks": [{"address": CHECK, "status": "fail",
                "instances": [{"address": CHECK, "status": "error", "problems": [{"message": "no"}]}]}],
    "action_invocations": [{"address": "action.a.b", "lifecycle_action_trigger": {
        "triggering_resource_address": "a.x", "action_trigger_event": "AfterCreate"}}],
    "deferred_changes": [{"reason": "unknown", "resource_change": entry("a.l", ["create"], None, {})}],
    "deferred_action_invocations": [{"reason": "unknown", "action_invocation": {"address": "action.a.c"}}],
}  # fmt: skip
"""A plan with every section that is read."""


def use(text: str | bytes) -> None:
    """Read a plan, and do all that the commands do with it."""
    rules = [Ignore(resource="a.*", attribute="tags", why="the agent")]
    errors = []
    try:
        plan = parse_plan(text)
        masked_plan(text)
        guard.refuse_destruction("staging/network", plan, ["aws_db_instance"])
    except CrewError as error:
        errors.append(str(error))
    assert all(error.isprintable() for error in errors)
    if errors:
        return
    findings = drift.drift_findings(plan, rules)
    shown = report.DriftReport("staging", (report.StackReport("network", findings),))
    lines = [*summary.plan_lines(plan), *summary.recorded_lines(drift.recorded_by_apply(findings))]
    texts = [
        *(f"{summary.MARKS[line.action]} {line.address} {line.edits}" for line in lines),
        *(line for line, _ in report.as_text(shown)),
        *report.as_markdown(shown),
        summary.planned_counts(plan),
        summary.applied_counts(plan),
    ]
    assert [text for text in texts if not text.isprintable()] == []
    json.dumps(report.as_json(shown))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path in a document."""
    yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*path, step))


PLACES = [path for path in places(WHOLE) if path]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["{", "[]", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def changed(document: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace the value at a path, if an earlier change has left it there."""
    for step in path[:-1]:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(document, dict if isinstance(path[-1], str) else list) and document:
        document[path[-1] if isinstance(document, dict) else path[-1] % len(document)] = value


CHANGES = st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3)
FEW, MANY = (
    settings(max_examples=number, database=None, suppress_health_check=list(HealthCheck)) for number in (150, 20_000)
)


@seed(17)
@FEW
@given(CHANGES)
@example([(("resource_changes", 0, "change", "before"), 5), (("resource_changes", 0, "change", "after"), [])])
@example([(("resource_drift", 0, "address"), ""), (("resource_changes", 0, "change", "before"), {"n": True})])
def test_any_value_in_any_place(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    use_with(changes)


@pytest.mark.release
@MANY
@given(CHANGES)
def test_any_value_in_any_place_many_times(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    use_with(changes)


def use_with(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Use a plan with other values in some places."""
    document = copy.deepcopy(WHOLE)
    for path, value in changes:
        changed(document, path, value)
    use(json.dumps(document))


@seed(17)
@settings(max_examples=80, database=None)
@given(st.integers(0, len(json.dumps(WHOLE))), st.binary(max_size=3))
def test_cut_and_garbled_texts(at: int, noise: bytes) -> None:
    text = json.dumps(WHOLE).encode()
    use(text[:at] + noise)
    use(text[:at] + noise + text[at + 1 :])


@pytest.mark.parametrize("path", [("resource_changes", 0, "change", "before", "n"), ("output_changes", "o", "after")])
@pytest.mark.parametrize("depth", [50, 90, 300, 900, 5000, 200_000])
def test_deep_values(path: tuple[Any, ...], depth: int) -> None:
    document = copy.deepcopy(WHOLE)
    changed(document, path, "HERE")
    for opening, closing in (("[", "]"), ('{"a": ', "}")):
        use(json.dumps(document).replace('"HERE"', opening * depth + "1" + closing * depth))


def test_a_value_that_is_no_object_is_refused() -> None:
    for value in (5, [], "text"):
        document = {"format_version": "1.2", "resource_changes": [entry("a.x", ["update"], value, {"n": 1})]}
        with pytest.raises(UnreadablePlan):
            parse_plan(json.dumps(document))
