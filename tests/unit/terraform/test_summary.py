"""The summary of a plan for people."""

from __future__ import annotations

import re
from typing import Any

import pytest

from terraform import drift, summary
from terraform.drift import DriftFinding, DriftKind
from tests.unit.terraform.plan_json import entry, made

PLAN = made(
    planned=[
        entry("a.new", ["create"], None, {"n": 1}),
        entry("a.old", ["delete"], {"n": 1}, None),
        entry("a.other", ["delete", "create"], {"n": 1, "s": "x"}, {"n": 2, "s": "y"}, after_sensitive={"s": True}),
        entry("a.edited", ["update"], {str(n): 1 for n in range(6)}, {str(n): 2 for n in range(6)}),
        entry("a.taken", ["no-op"], {"n": 1}, {"n": 1}, importing={"id": "x-1"}),
        entry("a.tuned", ["update"], {"n": 1}, {"n": 2}, importing={"id": "x-2"}),
        entry("a.moved", ["no-op"], {"n": 1}, {"n": 1}, previous_address="a.was"),
        entry("a.same", ["no-op"], {"n": 1}, {"n": 1}),
    ],
    output_changes={
        "open": {"actions": ["update"], "before": 1, "after": 2, "after_unknown": False},
        "secret": {
            "actions": ["create"],
            "before": None,
            "after": "x",
            "after_unknown": False,
            "after_sensitive": True,
        },
        "gone": {"actions": ["delete"], "before": 1, "after": None, "after_unknown": False},
    },
)


def test_counts() -> None:
    assert summary.planned_counts(PLAN) == (
        "1 to destroy, 1 to replace, 2 to update, 1 to create, 2 to import, 1 to move, 3 outputs"
    )
    assert summary.planned_counts(made()) == "nothing to do"
    assert summary.planned_counts(made(), 2) == "2 to record in the state"
    assert summary.planned_counts(PLAN, 1).endswith("3 outputs, 1 to record in the state")
    assert summary.applied_counts(PLAN).startswith("1 destroyed, 1 replaced, 2 updated, 1 created, 2 imported, 1 m")


def test_lines_start_with_the_most_dangerous() -> None:
    assert [(line.action, line.address, line.edits) for line in summary.plan_lines(PLAN)] == [
        ("destroy", "a.old", ""),
        ("replace", "a.other", "n 1 → 2, s (sensitive)"),
        ("update", "a.edited", "0 1 → 2, 1 1 → 2, 2 1 → 2, 3 1 → 2, and 2 more"),
        ("update", "a.tuned", "imported from x-2, n 1 → 2"),
        ("create", "a.new", ""),
        ("import", "a.taken", "imported from x-1"),
        ("move", "a.moved", "moved from a.was"),
        ("update", "output.open", "= 2"),
        ("create", "output.secret", "= (sensitive)"),
        ("remove", "output.gone", "was 1"),
    ]


def test_a_data_source_to_read_is_not_nothing() -> None:
    planned = made(planned=[entry("data.aws_ami.x", ["read"], None, {"n": 1}, mode="data")])
    assert summary.planned_counts(planned) == "1 to read"
    assert summary.applied_counts(planned) == "1 read"
    assert [(line.action, line.address) for line in summary.plan_lines(planned)] == [("read", "data.aws_ami.x")]


@pytest.mark.parametrize(
    ("planned", "terraform", "ours"),
    [
        (
            [entry("a.x", ["update"], {"n": 1}, {"n": 2}, importing={"id": "x-1"})],
            "Plan: 1 to import, 0 to add, 1 to change, 0 to destroy.",
            "1 to update, 1 to import",
        ),
        (
            [entry('a.y["k"]', ["update"], {"n": 1}, {"n": 2}, previous_address="a.x")],
            "Plan: 0 to add, 1 to change, 0 to destroy.",
            "1 to update",
        ),
        (
            [entry("a.x[0]", ["create", "delete"], {"n": 1}, {"n": 2}), entry("a.x[1]", ["delete"], {"n": 1}, None)],
            "Plan: 1 to add, 0 to change, 2 to destroy.",
            "1 to destroy, 1 to replace",
        ),
        (
            [entry("a.x", ["forget"], {"n": 1}, None), entry("a.y", ["create"], None, {"n": 1})],
            "Plan: 1 to add, 0 to change, 0 to destroy.",
            "1 to forget, 1 to create",
        ),
        (
            [entry("a.x", ["update"], {"n": 1}, {"n": 1}, after_sensitive={"n": True})],
            "Plan: 0 to add, 1 to change, 0 to destroy.",
            "1 to update",
        ),
        ([entry("a.x", ["no-op"], {"n": 1}, {"n": 1})], "No changes.", "nothing to do"),
    ],
)
def test_counts_beside_what_terraform_prints(planned: list[dict[str, Any]], terraform: str, ours: str) -> None:
    """A replacement is one to add and one to destroy for Terraform; it counts no moves and forgets."""
    plan = made(planned=planned)
    assert summary.planned_counts(plan) == ours
    actions = [change.action for change in plan.changes]
    counts = {
        "import": sum(bool(change.imported_from) for change in plan.changes),
        "add": actions.count("create") + actions.count("replace"),
        "change": actions.count("update"),
        "destroy": actions.count("destroy") + actions.count("replace"),
    }
    printed = {what: int(number) for number, what in re.findall(r"(\d+) to (\w+)", terraform)}
    assert counts == dict.fromkeys(counts, 0) | printed


@pytest.mark.parametrize(
    ("change", "edits"),
    [
        (entry("a.x", ["forget"], {"n": 1}, None), "no longer managed by Terraform, but not destroyed"),
        (entry("a.x", ["create", "forget"], {"n": 1}, {"n": 1}), "the old object is not destroyed"),
        (entry("a.x", ["update"], {"n": 1}, {"n": 2}, previous_address="a.y"), "moved from a.y, n 1 → 2"),
        (entry("a.x", ["update"], {"n": 1}, {"n": 1}, after_sensitive={"n": True}), "n marked as sensitive"),
        (entry("a.x", ["update"], {"n": 1}, {"n": 1}, before_sensitive={"n": True}), "n no longer marked as sensitive"),
    ],
)
def test_the_words_for_a_resource(change: dict[str, Any], edits: str) -> None:
    [line] = summary.plan_lines(made(planned=[change]))
    assert line.edits == edits


def test_an_output_that_only_becomes_sensitive() -> None:
    same = {"actions": ["update"], "before": 1, "after": 1, "before_sensitive": True, "after_sensitive": True}
    [line] = summary.plan_lines(made(output_changes={"o": same}))
    assert (line.action, line.edits) == ("update", "becomes sensitive, or is no longer")


def test_what_an_apply_leaves_undone_is_said() -> None:
    check = {"address": {"to_display": "check.health"}, "status": "fail", "problems": [{"message": "no answer"}]}
    later = {"reason": "instance_count_unknown", "resource_change": entry("a.x", ["create"], None, {})}
    planned = made(checks=[check], deferred_changes=[later], action_invocations=[{"address": "action.mail.team"}])
    assert summary.planned_counts(planned) == "1 action to invoke, 1 for a later plan, 1 check failed"
    assert summary.applied_counts(planned) == "1 action invoked"
    assert not planned.is_empty
    assert [(line.action, line.address, line.edits) for line in summary.plan_lines(planned)] == [
        ("invoke", "action.mail.team", ""),
        ("later", "a.x", "to create: instance count unknown"),
        ("check failed", "check.health", "no answer"),
    ]
    incomplete = made(complete=False)
    assert summary.planned_counts(incomplete) == "nothing to do, not complete"
    assert [line.action for line in summary.plan_lines(incomplete)] == ["incomplete"]
    assert all(line.action in summary.MARKS for line in summary.plan_lines(planned))


def test_an_apply_records_outside_changes_that_no_rule_ignores_and_no_plan_reverts() -> None:
    findings = [DriftFinding(kind, "a.b", "n", "1", "2") for kind in DriftKind] + [
        DriftFinding(DriftKind.STATE_ONLY, "a.c", "n", "1", "2", ignored="a clock")
    ]
    findings.append(DriftFinding(DriftKind.STATE_ONLY, "a.d", "", "exists", "deleted"))
    assert [
        (line.action, line.address, line.edits) for line in summary.recorded_lines(drift.recorded_by_apply(findings))
    ] == [
        ("record", "a.b", "n 1 → 2, changed outside"),
        ("record", "a.d", "deleted outside, and no longer in the code"),
    ]
