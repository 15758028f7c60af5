"""Drift in recorded plans of both Terraform versions, and in plans built for rare cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from inventories import Ignore
from terraform import drift, plan, report, summary
from terraform.drift import DriftFinding, DriftKind
from terraform.errors import UnreadablePlan
from tests.unit.terraform.plan_json import entry, made

PLANS = Path(__file__).parent / "plans"
PASSWORDS = ("hushhush99", "newpassword77")


def active(planned: plan.Plan, *ignore: Ignore) -> list[tuple[str, str]]:
    return [
        (finding.kind.value, finding.what) for finding in drift.drift_findings(planned, ignore) if not finding.ignored
    ]


def recorded(name: str) -> list[tuple[str, str]]:
    return active(plan.parse_plan((PLANS / name).read_text()))


@pytest.mark.parametrize("version", ["1.0.3", "1.15.5"])
class TestRecorded:
    def test_two_changed_tags_of_one_resource_are_two_findings(self, version: str) -> None:
        vpc = "module.network.aws_vpc.this"
        assert recorded(f"{version}-drift-network.json") == [
            ("changed", f"{vpc} tags.Extra"),
            ("changed", f"{vpc} tags.Owner"),
        ]

    def test_a_port_opened_outside_is_changed_not_pending(self, version: str) -> None:
        assert recorded(f"{version}-drift-cluster.json") == [
            ("changed", "module.cluster[0].aws_security_group.this ingress"),
            ("pending", 'module.cluster[0].aws_instance.this["agent-1"] root_block_device.0.volume_size'),
        ]

    def test_a_deleted_resource_is_missing_not_pending(self, version: str) -> None:
        assert {kind for kind, _ in recorded(f"{version}-drift-monitoring.json")} == {"missing"}

    def test_a_changed_password_is_reported_without_its_value(self, version: str) -> None:
        text = (PLANS / f"{version}-drift-database.json").read_text()
        assert all(password in text for password in PASSWORDS)
        findings = drift.drift_findings(plan.parse_plan(text))
        assert [(finding.kind, finding.attribute, finding.now) for finding in findings if not finding.ignored] == [
            (DriftKind.PENDING, "password", "(sensitive)")
        ]
        assert not any(password in repr(findings) for password in PASSWORDS)

    def test_a_timestamp_of_the_cloud_is_ignored(self, version: str) -> None:
        [clock] = [
            finding
            for finding in drift.drift_findings(plan.parse_plan((PLANS / f"{version}-drift-database.json").read_text()))
            if finding.ignored
        ]
        assert (clock.attribute, clock.ignored) == ("latest_restorable_time", drift.CLOCK)


@pytest.mark.parametrize("stack", ["cluster", "database"])
def test_a_clean_stack_has_no_findings_although_1_0_lists_unchanged_objects(stack: str) -> None:
    text = (PLANS / f"1.0.3-clean-{stack}.json").read_text()
    assert recorded(f"1.0.3-clean-{stack}.json") == []
    assert json.loads(text)["resource_drift"]


UPDATE, DELETE, CREATE, NO_OP = ["update"], ["delete"], ["create"], ["no-op"]


@pytest.mark.parametrize(
    ("drifted", "planned", "expected"),
    [
        pytest.param([], [entry("a.x", NO_OP, {"n": 1}, {"n": 1})], [], id="nothing"),
        pytest.param([entry("a.x", UPDATE, {"n": 1}, {"n": 1})], [], [], id="listed but unchanged"),
        pytest.param([entry("a.x", UPDATE, {"n": None}, {"n": {}})], [], [], id="one empty value for another"),
        pytest.param(
            [entry("a.x", UPDATE, {"n": 1}, {"n": 2})], [], [("state only", "a.x n")], id="no plan reverts it"
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"r": [{"p": 80, "l": None}, {"p": 443}]}, {"r": [{"p": 80, "l": []}, {"p": 443}]})],
            [entry("a.x", UPDATE, {"r": [{"p": 80, "l": []}, {"p": 443}]}, {"r": [{"p": 80}, {"p": 8443}]})],
            [("pending", "a.x r")],
            id="null against [] in one of two blocks, and an edit in the other",
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"r": [{"p": 80}, {"p": 443}]}, {"r": [{"p": 80}, {"p": 443}, {"p": 22}]})],
            [entry("a.x", UPDATE, {"r": [{"p": 80}, {"p": 443}, {"p": 22}]}, {"r": [{"p": 80}, {"p": 8443}]})],
            [("changed", "a.x r"), ("pending", "a.x r")],
            id="one block added outside, another edited in the code",
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"c": {"d": [{"e": ""}]}}, {"c": {"d": [{"e": {}}], "f": [], "g": {"h": None}}})],
            [],
            [],
            id="one empty value for another, deep inside",
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"policy": '{"a":1,"b":[2]}'}, {"policy": '{ "b": [2], "a": 1 }'})],
            [],
            [],
            id="JSON in another key order",
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"policy": '{"a":1}'}, {"policy": '{"a":true}'})],
            [],
            [("state only", "a.x policy")],
            id="JSON with another value",
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"n": 1, "m": 5}, {"n": 2, "m": 5})],
            [entry("a.x", UPDATE, {"n": 2, "m": 5}, {"n": 1, "m": 6})],
            [("changed", "a.x n"), ("pending", "a.x m")],
            id="one resource, changed outside and edited in the code",
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"n": 1}, {"n": 2})],
            [entry("a.x", UPDATE, {"n": 2}, {"n": 3})],
            [("changed", "a.x n")],
            id="one attribute, changed outside and edited in the code",
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"n": 1}, {"n": 2})],
            [entry("a.x", ["delete", "create"], {"n": 2, "id": "i"}, {"n": 1}, after_unknown={"id": True})],
            [("changed", "a.x n")],
            id="a change that only a replacement reverts",
        ),
        pytest.param(
            [entry("a.x", UPDATE, {"n": 1}, {"n": 2})],
            [entry("a.x", DELETE, {"n": 2}, None)],
            [("changed", "a.x n"), ("pending", "a.x")],
            id="changed outside and removed from the code",
        ),
        pytest.param(
            [entry("a.x", DELETE, {"n": 1}, None)],
            [entry("a.x", CREATE, None, {"n": 1})],
            [("missing", "a.x")],
            id="missing",
        ),
        pytest.param(
            [entry("a.x", DELETE, {"n": 1}, None)], [], [("state only", "a.x")], id="deleted, and removed from the code"
        ),
        pytest.param(
            [entry("a.x", DELETE, {"n": 1}, None)],
            [entry("a.x[0]", NO_OP, {"n": 1}, {"n": 1})],
            [],
            id="moved, as 1.0 reports it",
        ),
        pytest.param(
            [entry("a.y", NO_OP, {"n": 1}, {"n": 1}, previous_address="a.x")],
            [entry("a.y", NO_OP, {"n": 1}, {"n": 1}, previous_address="a.x")],
            [("pending", "a.y")],
            id="moved, as 1.1 reports it",
        ),
        pytest.param([], [entry("a.x", CREATE, None, {"n": 1})], [("pending", "a.x")], id="to create"),
        pytest.param(
            [],
            [entry("a.x", NO_OP, {"n": 1}, {"n": 1}, importing={"id": "x-1"})],
            [("pending", "a.x")],
            id="to import",
        ),
        pytest.param(
            [],
            [entry("a.x", UPDATE, {"n": 1}, {"n": 2}, importing={"identity": {"arn": "x-1"}})],
            [("pending", "a.x"), ("pending", "a.x n")],
            id="to import and update",
        ),
        pytest.param([], [entry("a.x", ["forget"], {"n": 1}, None)], [("pending", "a.x")], id="to forget"),
        pytest.param(
            [],
            [entry("a.x", ["create", "forget"], {"n": 1}, {"n": 2})],
            [("pending", "a.x n")],
            id="to replace and forget",
        ),
        pytest.param([], [entry("a.x", ["read"], None, {"n": 1})], [], id="to read"),
        pytest.param([], [entry("a.x", UPDATE, {"n": None}, {"n": {}})], [], id="a planned empty value for another"),
        pytest.param(
            [],
            [entry("a.x", UPDATE, {"n": 1}, {}, after_unknown={"n": True})],
            [("pending", "a.x")],
            id="known after apply",
        ),
        pytest.param(
            [],
            [entry("a.x", DELETE, {"n": 1}, None, deposed="byebye")],
            [("pending", "a.x (deposed byebye)")],
            id="deposed",
        ),
        pytest.param(
            [
                entry(
                    "a.x",
                    UPDATE,
                    {"tags": {}, "tags_all": {"Owner": "we"}},
                    {"tags": {"Owner": "he"}, "tags_all": {"Owner": "he"}},
                )
            ],
            [
                entry(
                    "a.x",
                    UPDATE,
                    {"tags": {"Owner": "he"}, "tags_all": {"Owner": "he"}},
                    {"tags": {}, "tags_all": {"Owner": "we"}},
                )
            ],
            [("changed", "a.x tags.Owner")],
            id="a default tag is one finding",
        ),
        pytest.param(
            [
                entry(
                    "a.x",
                    UPDATE,
                    {"tags": {}, "tags_all": {"Owner": "we"}},
                    {"tags": {"Owner": "we"}, "tags_all": {"Owner": "we"}},
                )
            ],
            [
                entry(
                    "a.x",
                    UPDATE,
                    {"tags": {"Owner": "we"}, "tags_all": {"Owner": "we"}},
                    {"tags": {}, "tags_all": {"Owner": "us"}},
                )
            ],
            [("pending", "a.x tags.Owner")],
            id="a default tag that the code changes is pending",
        ),
    ],
)
def test_findings(drifted: Any, planned: Any, expected: list[tuple[str, str]]) -> None:
    assert active(made(drifted, planned)) == expected


def test_an_apply_records_a_resource_removed_from_cloud_and_code() -> None:
    findings = drift.drift_findings(made([entry("a.x", DELETE, {"n": 1}, None)]))
    assert [finding.sentence for finding in drift.recorded_by_apply(findings)] == [
        "deleted outside, and no longer in the code"
    ]


@pytest.mark.parametrize(
    ("importing", "sentence"),
    [
        ({"id": "x-1"}, "to import x-1"),
        ({"identity": {"arn": "x-1"}}, 'to import {"arn": "x-1"}'),
        ({"unknown": True}, "to import (known after apply)"),
    ],
)
def test_an_import_shows_the_id_of_the_cloud(importing: Any, sentence: str) -> None:
    planned = made(planned=[entry("a.x", NO_OP, {"n": 1}, {"n": 1}, importing=importing)])
    assert [finding.sentence for finding in drift.drift_findings(planned)] == [sentence]
    assert not planned.is_empty


def test_terraform_1_0_0_prints_no_addresses() -> None:
    anonymous = entry("a.x", UPDATE, {"n": 1}, {"n": 2})
    del anonymous["address"]
    planned = [entry("a.x[0]", NO_OP, {"n": 7}, {"n": 7}), entry("a.x[1]", UPDATE, {"n": 2}, {"n": 1})]
    assert active(made([anonymous], planned, version="0.2")) == [("changed", "a.x[1] n")]


class TestSensitive:
    SECRET = "do-not-show-me"

    @pytest.mark.parametrize(
        "mask",
        [{"conf": True}, {"conf": [{"deep": {"key": True}}]}, {"conf": [{"deep": True}]}, True],
        ids=["all of it", "at depth", "above", "everything"],
    )
    @pytest.mark.parametrize("side", ["before_sensitive", "after_sensitive"])
    @pytest.mark.parametrize("where", ["drift", "plan"])
    def test_a_mask_at_any_depth_of_either_side_of_either_view_hides_the_value(
        self, mask: Any, side: str, where: str
    ) -> None:
        old, new = ({"conf": [{"deep": {"key": value}}]} for value in ("harmless", self.SECRET))
        outside = entry("a.x", UPDATE, old, new, **({side: mask} if where == "drift" else {}))
        planned = entry("a.x", UPDATE, new, old, **({side: mask} if where == "plan" else {}))
        findings = drift.drift_findings(made([outside], [planned]))
        assert [finding.now for finding in findings] == ["(sensitive)"]
        assert self.SECRET not in repr(findings)

    def test_a_list_with_one_sensitive_value_is_hidden_whole(self) -> None:
        outside = entry(
            "a.x", UPDATE, {"l": ["a", "b"]}, {"l": ["a", self.SECRET]}, after_sensitive={"l": [False, True]}
        )
        assert self.SECRET not in repr(drift.drift_findings(made([outside])))

    def test_outputs(self) -> None:
        change = {
            "actions": UPDATE,
            "before": "a",
            "after": self.SECRET,
            "after_unknown": False,
            "before_sensitive": False,
        }
        findings = drift.drift_findings(made(output_changes={"o": {**change, "after_sensitive": True}}))
        assert [(finding.what, finding.now) for finding in findings] == [("output.o value", "(sensitive)")]
        assert self.SECRET not in repr(findings)


class TestControlCharacters:
    """A value or a name from a cloud can hold characters that a terminal obeys."""

    BAD = "a\x1b]0;owned\x07\r\nb\x9b2J\u202ec\ud800"

    def plan(self) -> plan.Plan:
        bad, check = self.BAD, {"to_display": self.BAD}
        trigger = {"triggering_resource_address": bad, "action_trigger_event": bad}
        return made(
            [entry("a.x", UPDATE, {"tags": {bad: bad}, "n": [bad]}, {"tags": {bad: "x"}, "n": [bad, bad, {bad: bad}]})],
            [
                {**entry("a.y", UPDATE, {bad: bad}, {bad: "y"}, importing={"id": bad}), "address": f'a.y["{bad}"]'},
                entry("a.z", NO_OP, {}, {}, previous_address=bad),
                entry("a.d", DELETE, {}, None, deposed=bad),
                entry("a.i", CREATE, None, {}, importing={"identity": {bad: bad}}),
                entry("data.a.r", ["read"], None, {}, mode="data") | {"address": bad},
            ],
            output_changes={bad: {"actions": UPDATE, "before": bad, "after": [bad]}},
            checks=[{"address": check, "status": "fail", "problems": [{"message": bad}]}],
            action_invocations=[{"address": bad, "lifecycle_action_trigger": trigger}],
            deferred_changes=[{"reason": bad, "resource_change": {"address": bad}}],
        )

    def test_never_reach_a_finding_or_a_report(self) -> None:
        findings = drift.drift_findings(self.plan())
        shown = report.DriftReport("staging", (report.StackReport("network", findings),))
        texts = [line for line, _ in report.as_text(shown)] + list(report.as_markdown(shown))
        assert len(findings) == 12
        assert "\\x1b" in "".join(texts)
        assert [text for text in texts if not text.isprintable()] == []

    def test_never_reach_a_line_of_a_plan(self) -> None:
        lines = summary.plan_lines(self.plan())
        assert {line.action for line in lines} >= {"update", "move", "destroy", "create", "read", "invoke", "later"}
        assert [line for line in lines if not f"{line.address}{line.edits}".isprintable()] == []

    def test_never_reach_an_error(self) -> None:
        with pytest.raises(UnreadablePlan) as error:
            made(planned=[entry("a.x", [self.BAD]) | {"address": self.BAD}])
        assert str(error.value).isprintable()
        with pytest.raises(UnreadablePlan) as error:
            made(version=self.BAD)
        assert str(error.value).isprintable()


class TestOnlyMarks:
    """Changes of nothing but the marks of sensitivity: the plan has "1 to update", so drift is not clean."""

    @pytest.mark.parametrize(
        ("masks", "expected"),
        [
            ({"after_sensitive": {"c": [{"n": True}]}}, [("a.x c.0.n", "(not sensitive) → (sensitive)")]),
            ({"before_sensitive": {"c": [{"n": True}]}}, [("a.x c.0.n", "(sensitive) → (not sensitive)")]),
            ({"before_sensitive": {"c": True}, "after_sensitive": {"c": [{"n": True}]}}, [("a.x", "to update")]),
            ({"after_sensitive": {"gone": True}}, [("a.x", "to update")]),
            ({}, [("a.x", "to update")]),
        ],
    )
    def test_of_a_resource(self, masks: Any, expected: list[tuple[str, str]]) -> None:
        same = {"c": [{"n": 1}], "gone": None}
        findings = drift.drift_findings(made(planned=[entry("a.x", UPDATE, same, same, **masks)]))
        assert [(finding.what, finding.sentence) for finding in findings] == expected
        assert {finding.kind for finding in findings} == {DriftKind.PENDING}

    def test_of_an_output(self) -> None:
        same = {"actions": UPDATE, "before": "x", "after": "x", "before_sensitive": True, "after_sensitive": True}
        [finding] = drift.drift_findings(made(output_changes={"o": same}))
        assert (finding.what, finding.sentence) == ("output.o", "to change whether it is sensitive")


def test_a_removed_output_and_a_forgotten_resource() -> None:
    planned = made(
        planned=[entry("a.x", ["forget"], {"n": 1}, None)],
        output_changes={"o": {"actions": DELETE, "before": "x", "after": None}},
    )
    assert [(finding.what, finding.sentence) for finding in drift.drift_findings(planned)] == [
        ("a.x", "no longer managed by Terraform, but not destroyed"),
        ("output.o", "to remove"),
    ]


class TestOtherThanChanges:
    CHECK: ClassVar = {"address": {"kind": "check", "to_display": "check.health"}, "status": "fail"}

    def findings(self, **more: Any) -> list[tuple[str, str, str]]:
        return [(finding.kind, finding.what, finding.sentence) for finding in drift.drift_findings(made(**more))]

    def test_a_failed_check_is_a_finding_and_no_drift(self) -> None:
        failed = {"address": {"to_display": "check.health"}, "status": "fail", "problems": [{"message": "no answer"}]}
        passed = {"address": {"to_display": "check.health[1]"}, "status": "pass"}
        assert self.findings(checks=[{**self.CHECK, "instances": [failed, passed]}]) == [
            ("check failed", "check.health", "no answer")
        ]
        assert not DriftKind.CHECK_FAILED.is_drift

    @pytest.mark.parametrize("status", ["pass", "unknown"])
    def test_other_checks_are_no_finding(self, status: str) -> None:
        assert self.findings(checks=[{**self.CHECK, "status": status}]) == []

    def test_a_check_with_an_error_has_no_instances(self) -> None:
        assert self.findings(checks=[{**self.CHECK, "status": "error"}]) == [
            ("check failed", "check.health", "cannot be evaluated")
        ]

    def test_an_action_to_invoke_is_pending(self) -> None:
        trigger = {"triggering_resource_address": "a.x", "action_trigger_event": "AfterCreate"}
        actions = [
            {"address": "action.mail.admins", "invoke_action_trigger": {}},
            {"address": "action.mail.team", "lifecycle_action_trigger": trigger},
        ]
        assert self.findings(action_invocations=actions) == [
            ("pending", "action.mail.admins", "to invoke"),
            ("pending", "action.mail.team", "to invoke after create of a.x"),
        ]

    def test_a_deferred_change_is_pending(self) -> None:
        change = {"reason": "provider_config_unknown", "resource_change": entry("a.x", CREATE, None, {"n": 1})}
        action = {"reason": "deferred_prereq", "action_invocation": {"address": "action.mail.team"}}
        document = {"deferred_changes": [change], "deferred_action_invocations": [action], "complete": False}
        assert self.findings(**document) == [
            ("pending", "a.x", "to create later: provider config unknown"),
            ("pending", "action.mail.team", "to invoke later: deferred prereq"),
        ]

    def test_an_incomplete_plan_is_pending(self) -> None:
        sentence = "to plan again after the next apply, since this plan lacks changes"
        assert self.findings(complete=False) == [("pending", "the plan", sentence)]


class TestOutputs:
    def change(self, before: Any, after: Any, unknown: bool = False) -> dict[str, Any]:
        return {"o": {"actions": UPDATE, "before": before, "after": after, "after_unknown": unknown}}

    def test_an_edited_output_is_pending(self) -> None:
        assert active(made(output_changes=self.change("a", "b"))) == [("pending", "output.o value")]

    def test_an_output_that_stays_empty_is_no_finding(self) -> None:
        assert active(made(output_changes=self.change(None, []))) == []

    def test_an_output_that_follows_a_drifted_value_is_no_finding(self) -> None:
        outside = entry("a.x", UPDATE, {"ip": "1.1.1.1"}, {"ip": "2.2.2.2"})
        followed = self.change("1.1.1.1", "2.2.2.2")
        assert active(made([outside], output_changes=followed)) == [("state only", "a.x ip")]
        assert active(made(output_changes=self.change("a", None, unknown=True))) == []


class TestIgnored:
    OUTSIDE = entry("aws_instance.dev[0]", UPDATE, {"tags": {"Seen": "1"}, "n": 1}, {"tags": {"Seen": "2"}, "n": 2})

    @pytest.mark.parametrize(
        ("resource", "attribute", "left"),
        [
            ("aws_instance.dev*", "tags.Seen", ["n"]),
            ("aws_instance.dev[0]", "tags", ["n"]),
            ("aws_instance.*", "tags.*", ["n"]),
            ("aws_instance.dev[0]", None, []),
            ("aws_instance.dev", None, ["n", "tags.Seen"]),
            ("aws_instance.dev[1]", None, ["n", "tags.Seen"]),
            ("aws_instance.dev*", "tag", ["n", "tags.Seen"]),
        ],
    )
    def test_rules(self, resource: str, attribute: str | None, left: list[str]) -> None:
        rule = Ignore(resource=resource, attribute=attribute, why="the agent writes it")
        findings = drift.drift_findings(made([self.OUTSIDE]), [rule])
        assert [finding.attribute for finding in findings if not finding.ignored] == left
        assert {finding.ignored for finding in findings if finding.ignored} <= {"the agent writes it"}
        assert drift.unmatched_rules(findings, [rule]) == ([] if len(left) < 2 else [rule])

    def test_pending_changes_are_never_ignored(self) -> None:
        rule = Ignore(resource="*", attribute=None, why="all of it")
        assert active(made(planned=[entry("a.x", CREATE, None, {})]), rule) == [("pending", "a.x")]


def test_five_thousand_resources() -> None:
    before, after = (
        {"tags": {str(n): "v" for n in range(30)}},
        {"tags": {str(n): "w" if n == 7 else "v" for n in range(30)}},
    )
    addresses = [f'aws_instance.many["{n}"]' for n in range(5000)]
    many = made(
        [entry(one, UPDATE, before, after) for one in addresses],
        [entry(one, UPDATE, after, before) for one in addresses],
    )
    rule = Ignore(resource='*"4999"*', attribute="tags", why="one of many")
    findings = drift.drift_findings(many, [rule])
    assert len([finding for finding in findings if not finding.ignored]) == 4999
    assert findings[-1] == DriftFinding(DriftKind.CHANGED, addresses[-1], "tags.7", "v", "w", ignored="one of many")
