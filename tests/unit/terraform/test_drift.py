"""Drift, read from plans that both versions of Terraform printed, and from such as are hard to have printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from inventories import Ignore
from terraform import drift, plan
from terraform.drift import DriftFinding, DriftKind
from terraform.errors import UnreadablePlan

PLANS = Path(__file__).parent / "plans"
PASSWORDS = ("hushhush99", "newpassword77")


def found(plan_of: plan.Plan, *ignore: Ignore) -> list[tuple[str, str]]:
    return [(one.kind.value, one.what) for one in drift.drift_findings(plan_of, ignore) if not one.ignored]


def recorded(name: str) -> list[tuple[str, str]]:
    return found(plan.parse_plan((PLANS / name).read_text()))


@pytest.mark.parametrize("version", ["1.0.3", "1.15.5"])
class TestRecorded:
    def test_two_tags_of_one_resource_are_two_findings(self, version: str) -> None:
        vpc = "module.network.aws_vpc.this"
        assert recorded(f"{version}-drift-network.json") == [
            ("changed", f"{vpc} tags.Extra"),
            ("changed", f"{vpc} tags.Owner"),
        ]

    def test_an_opened_port_is_no_edit_of_the_code(self, version: str) -> None:
        assert recorded(f"{version}-drift-cluster.json") == [
            ("changed", "module.cluster[0].aws_security_group.this ingress"),
            ("pending", 'module.cluster[0].aws_instance.this["agent-1"] root_block_device.0.volume_size'),
        ]

    def test_what_was_deleted_is_missing_and_not_pending(self, version: str) -> None:
        assert {kind for kind, _ in recorded(f"{version}-drift-monitoring.json")} == {"missing"}

    def test_a_password_is_told_without_being_shown(self, version: str) -> None:
        text = (PLANS / f"{version}-drift-database.json").read_text()
        assert all(password in text for password in PASSWORDS)
        findings = drift.drift_findings(plan.parse_plan(text))
        assert [(one.kind, one.attribute, one.now) for one in findings if not one.ignored] == [
            (DriftKind.PENDING, "password", "(sensitive)")
        ]
        assert not any(password in repr(findings) for password in PASSWORDS)

    def test_a_clock_of_the_cloud_alarms_nobody(self, version: str) -> None:
        [clock] = [
            one
            for one in drift.drift_findings(plan.parse_plan((PLANS / f"{version}-drift-database.json").read_text()))
            if one.ignored
        ]
        assert (clock.attribute, clock.ignored) == ("latest_restorable_time", drift.CLOCK)


@pytest.mark.parametrize("stack", ["cluster", "database"])
def test_a_clean_stack_has_no_findings_although_1_0_lists_unchanged_objects(stack: str) -> None:
    text = (PLANS / f"1.0.3-clean-{stack}.json").read_text()
    assert recorded(f"1.0.3-clean-{stack}.json") == []
    assert json.loads(text)["resource_drift"]


def entry(address: str, actions: Sequence[str], before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    plain = address.split("[", maxsplit=1)[0].split(".")
    change = {"actions": list(actions), "before": before, "after": after, "after_unknown": {}}
    change |= {
        key: more.pop(key)
        for key in ("after_unknown", "before_sensitive", "after_sensitive", "importing")
        if key in more
    }
    return {"address": address, "mode": "managed", "type": plain[-2], "name": plain[-1], "change": change, **more}


def made(
    drifted: Sequence[Mapping[str, Any]] = (),
    planned: Sequence[Mapping[str, Any]] = (),
    version: str = "1.2",
    **more: Any,
) -> plan.Plan:
    document = {"format_version": version, "resource_drift": drifted, "resource_changes": planned, **more}
    return plan.parse_plan(json.dumps(document))


UPDATE, DELETE, CREATE, NO_OP = ["update"], ["delete"], ["create"], ["no-op"]


@pytest.mark.parametrize(
    ("drifted", "planned", "expected"),
    [
        pytest.param([], [entry("a.x", NO_OP, {"n": 1}, {"n": 1})], [], id="nothing"),
        pytest.param([entry("a.x", UPDATE, {"n": 1}, {"n": 1})], [], [], id="listed, and not changed"),
        pytest.param([entry("a.x", UPDATE, {"n": None}, {"n": {}})], [], [], id="one nothing for another"),
        pytest.param(
            [entry("a.x", UPDATE, {"n": 1}, {"n": 2})], [], [("state only", "a.x n")], id="no plan touches it"
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
            id="changed outside and gone from the code",
        ),
        pytest.param(
            [entry("a.x", DELETE, {"n": 1}, None)],
            [entry("a.x", CREATE, None, {"n": 1})],
            [("missing", "a.x")],
            id="missing",
        ),
        pytest.param(
            [entry("a.x", DELETE, {"n": 1}, None)], [], [("state only", "a.x")], id="missing, and gone from the code"
        ),
        pytest.param(
            [entry("a.x", DELETE, {"n": 1}, None)],
            [entry("a.x[0]", NO_OP, {"n": 1}, {"n": 1})],
            [],
            id="moved, as 1.0 tells it",
        ),
        pytest.param(
            [entry("a.y", NO_OP, {"n": 1}, {"n": 1}, previous_address="a.x")],
            [entry("a.y", NO_OP, {"n": 1}, {"n": 1}, previous_address="a.x")],
            [("pending", "a.y")],
            id="moved, as 1.1 tells it",
        ),
        pytest.param([], [entry("a.x", CREATE, None, {"n": 1})], [("pending", "a.x")], id="to be made"),
        pytest.param(
            [],
            [entry("a.x", NO_OP, {"n": 1}, {"n": 1}, importing={"id": "x-1"})],
            [("pending", "a.x")],
            id="to be imported",
        ),
        pytest.param(
            [],
            [entry("a.x", UPDATE, {"n": 1}, {"n": 2}, importing={"identity": {"arn": "x-1"}})],
            [("pending", "a.x"), ("pending", "a.x n")],
            id="to be imported and edited",
        ),
        pytest.param([], [entry("a.x", ["forget"], {"n": 1}, None)], [("pending", "a.x")], id="to be forgotten"),
        pytest.param(
            [],
            [entry("a.x", ["create", "forget"], {"n": 1}, {"n": 2})],
            [("pending", "a.x n")],
            id="to be replaced and forgotten",
        ),
        pytest.param([], [entry("a.x", ["read"], None, {"n": 1})], [], id="to be read"),
        pytest.param([], [entry("a.x", UPDATE, {"n": None}, {"n": {}})], [], id="a plan of one nothing for another"),
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
            id="a default tag is one tag",
        ),
    ],
)
def test_what_is_told_apart(drifted: Any, planned: Any, expected: list[tuple[str, str]]) -> None:
    assert found(made(drifted, planned)) == expected


def test_what_is_gone_from_the_cloud_and_the_code_is_taken_note_of() -> None:
    findings = drift.drift_findings(made([entry("a.x", DELETE, {"n": 1}, None)]))
    assert [one.sentence for one in drift.recorded_by_apply(findings)] == ["deleted outside, and no longer in the code"]


@pytest.mark.parametrize(
    ("importing", "told"),
    [
        ({"id": "x-1"}, "to import x-1"),
        ({"identity": {"arn": "x-1"}}, 'to import {"arn": "x-1"}'),
        ({"unknown": True}, "to import (known after apply)"),
    ],
)
def test_what_is_imported_is_told_as_the_cloud_calls_it(importing: Any, told: str) -> None:
    plan_of = made(planned=[entry("a.x", NO_OP, {"n": 1}, {"n": 1}, importing=importing)])
    assert [one.sentence for one in drift.drift_findings(plan_of)] == [told]
    assert not plan_of.is_empty


def test_without_addresses_as_in_1_0_0() -> None:
    anonymous = entry("a.x", UPDATE, {"n": 1}, {"n": 2})
    del anonymous["address"]
    planned = [entry("a.x[0]", NO_OP, {"n": 7}, {"n": 7}), entry("a.x[1]", UPDATE, {"n": 2}, {"n": 1})]
    assert found(made([anonymous], planned, version="0.2")) == [("changed", "a.x[1] n")]


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
        assert [one.now for one in findings] == ["(sensitive)"]
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
        assert [(one.what, one.now) for one in findings] == [("output.o value", "(sensitive)")]
        assert self.SECRET not in repr(findings)


class TestOutputs:
    def change(self, before: Any, after: Any, unknown: bool = False) -> dict[str, Any]:
        return {"o": {"actions": UPDATE, "before": before, "after": after, "after_unknown": unknown}}

    def test_an_edited_output_is_pending(self) -> None:
        assert found(made(output_changes=self.change("a", "b"))) == [("pending", "output.o value")]

    def test_one_that_is_empty_before_and_after_is_no_news(self) -> None:
        assert found(made(output_changes=self.change(None, []))) == []

    def test_one_that_only_follows_is_no_news(self) -> None:
        outside = entry("a.x", UPDATE, {"ip": "1.1.1.1"}, {"ip": "2.2.2.2"})
        followed = self.change("1.1.1.1", "2.2.2.2")
        assert found(made([outside], output_changes=followed)) == [("state only", "a.x ip")]
        assert found(made(output_changes=self.change("a", None, unknown=True))) == []


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
        assert [one.attribute for one in findings if not one.ignored] == left
        assert {one.ignored for one in findings if one.ignored} <= {"the agent writes it"}
        assert drift.unmatched_rules(findings, [rule]) == ([] if len(left) < 2 else [rule])

    def test_what_is_not_applied_yet_is_never_ignored(self) -> None:
        rule = Ignore(resource="*", attribute=None, why="all of it")
        assert found(made(planned=[entry("a.x", CREATE, None, {})]), rule) == [("pending", "a.x")]


class TestUnreadable:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "{}",
            '{"format_version": "1.0", "resource_changes": [{}]}',
            '{"format_version": "1.2", "resource_changes": 5}',
        ],
    )
    def test_cut_or_strange(self, text: str) -> None:
        with pytest.raises(UnreadablePlan):
            plan.parse_plan(text)

    def test_a_newer_major_format(self) -> None:
        with pytest.raises(UnreadablePlan, match=r"format 2\.0 is newer than"):
            made(version="2.0")

    def test_unknown_keys_are_no_trouble(self) -> None:
        assert made(version="1.99", deferred_changes=[{}], applyable=True, errored=False).is_empty


def test_five_thousand_resources_are_read_at_once() -> None:
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
    assert len([one for one in findings if not one.ignored]) == 4999
    assert findings[-1] == DriftFinding(DriftKind.CHANGED, addresses[-1], "tags.7", "v", "w", ignored="one of many")
