"""Plans that destroy kept resources are refused."""

from __future__ import annotations

from typing import Any

import pytest

from terraform import guard
from terraform.errors import ChangeRefused
from tests.unit.terraform.plan_json import entry, made


@pytest.mark.parametrize("actions", [["delete"], ["delete", "create"], ["create", "delete"]])
def test_a_kept_type(actions: list[str]) -> None:
    plan = made(planned=[entry("aws_db_instance.x", actions, {"n": 1}, {"n": 2})])
    with pytest.raises(ChangeRefused, match=r"aws_db_instance.x \(terraform.keep lists aws_db_instance\)"):
        guard.refuse_destruction("staging/database", plan, ["aws_db_instance"])
    guard.refuse_destruction("staging/database", plan, ["aws_s3_bucket"])


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ({"tags": {"keep": "yes"}}, True), ({"tags": {"Keep": ""}}, True), ({"tags_all": {"keep": "true"}}, True),
        ({"tags": {"keep": "false"}}, False), ({"tags": None}, False), ({"tags": {"other": "keep"}}, False),
        ({"tags": ["http", "keep"]}, True), ({"tags": ["http"]}, False), ({"tags": [None, 5, [], {}]}, False),
        ({"labels": {"keep": "true"}, "tags": ["http"]}, True), ({"labels": [], "tags": "keep"}, False),
        ({"tag": [{"key": "a", "value": "b"}, {"key": "keep", "value": "yes"}]}, True),
        ({"tag": [{"key": "Keep", "value": "no"}]}, False), ({"tags": [{"key": "keep", "value": ""}]}, True),
        ({"tags": {"keep": "no"}, "tags_all": {"keep": "yes"}}, True), ({"effective_labels": {"keep": "1"}}, True),
    ],
)  # fmt: skip
def test_a_kept_tag(before: Any, kept: bool) -> None:
    plan = made(planned=[entry("a.x", ["delete"], before, None)])
    assert [reason for _, reason in guard.kept_resources(plan, [])] == (["tagged keep"] if kept else [])


def test_an_update_destroys_nothing() -> None:
    guard.refuse_destruction(
        "n", made(planned=[entry("a.x", ["update"], {"tags": {"keep": "1"}}, {"tags": {}})]), ["a"]
    )
