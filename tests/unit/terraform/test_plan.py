"""Plans that cannot be read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from terraform import plan
from terraform.errors import UnreadablePlan
from tests.unit.terraform.plan_json import entry, made


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
def test_incomplete_or_invalid_plans(text: str) -> None:
    with pytest.raises(UnreadablePlan):
        plan.parse_plan(text)


def test_a_newer_major_format_is_refused() -> None:
    with pytest.raises(UnreadablePlan, match=r"format 2\.0 is newer than"):
        made(version="2.0")


@pytest.mark.parametrize("actions", [["update", "invent"], ["merge"], ["forget", "create", "forget"], [5]])
@pytest.mark.parametrize("section", ["planned", "drifted"])
def test_an_unknown_action_is_refused_by_name(section: str, actions: list[Any]) -> None:
    with pytest.raises(
        UnreadablePlan, match=r"^aws_vpc\.x: .* does not know the action " + re.escape(json.dumps(actions))
    ):
        made(**{section: [entry("aws_vpc.x", actions)]})


def test_an_unknown_action_of_an_output_or_a_data_source_is_refused() -> None:
    with pytest.raises(UnreadablePlan, match=r'^output\.o: .* action \["renew"\]; update groundcrew$'):
        made(output_changes={"o": {"actions": ["renew"]}})
    with pytest.raises(UnreadablePlan, match=r'^data\.aws_ami\.x: .* action \["renew"\]'):
        made(planned=[entry("data.aws_ami.x", ["renew"], mode="data")])


@pytest.mark.parametrize("actions", [["create", "forget"], ["forget", "create"]])
def test_a_replacement_that_forgets_the_old_object_destroys_nothing(actions: list[str]) -> None:
    """OpenTofu also writes the forgetting first."""
    [change] = made(planned=[entry("a.x", actions, {"n": 1}, {"n": 2})]).changes
    assert (change.action, change.is_forgotten, change.destroys) == ("replace", True, False)


def test_a_data_source_that_the_apply_reads_makes_the_plan_not_empty() -> None:
    planned = made(planned=[entry("data.aws_ami.x", ["read"], None, {"n": 1}, mode="data")])
    assert (planned.reads, planned.is_empty) == (("data.aws_ami.x",), False)


def test_unknown_keys_are_ignored() -> None:
    assert made(version="1.99", deferred_changes=[{}], applyable=True, errored=False).is_empty
