"""The plan that checks get: without sensitive values, but with all that it does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from terraform.masking import masked_plan
from tests.unit.terraform.plan_json import entry

SECRET = "hush-hush-42"


def masked(**document: Any) -> Any:
    return json.loads(masked_plan(json.dumps({"format_version": "1.2", **document})))


CODE = {"root_module": {"variables": {"password": {"sensitive": True}, "name": {}}}}


@pytest.mark.parametrize(
    "document",
    [
        {"resource_changes": [entry("a.x", ["create"], None, {"p": SECRET, "n": 1}, after_sensitive={"p": True})]},
        {"resource_drift": [entry("a.x", ["update"], {"p": [{"q": SECRET}]}, before_sensitive={"p": [{"q": True}]})]},
        {"resource_changes": [entry("a.x", ["create"], None, {"p": {"deep": [SECRET]}}, after_sensitive=True)]},
        {"planned_values": {"root_module": {"child_modules": [{"resources": [
            {"address": "m.a.x", "values": {"p": SECRET}, "sensitive_values": {"p": True}}]}]}}},
        {"prior_state": {"values": {"outputs": {"o": {"sensitive": True, "value": {"deep": [SECRET]}}}}}},
        {"output_changes": {"o": {"actions": ["create"], "before": None, "after": SECRET, "after_sensitive": True}}},
        {"variables": {"password": {"value": SECRET}}, "configuration": CODE},
        {"action_invocations": [{"config_values": {"p": SECRET}, "config_sensitive": {"p": True}}]},
        {"resource_changes": [entry("a.x", ["create"], None, {"p": SECRET}, after_sensitive={"p": True})],
         "configuration": {"root_module": {"resources": [{"expressions": {"p": {"constant_value": f"a {SECRET}"}}}]}}},
    ],
)  # fmt: skip
def test_sensitive_values_are_masked_wherever_they_stand(document: dict[str, Any]) -> None:
    text = json.dumps(masked(**document))
    assert SECRET not in text
    assert "(sensitive)" in text


def test_all_else_stays() -> None:
    after = {"p": SECRET, "port": 5432, "public": True, "name": "shop", "rules": [{"from": 1}]}
    marks = {"p": True, "port": True, "public": True, "rules": [{}]}
    document = masked(
        resource_changes=[entry("a.x", ["create"], None, after, after_sensitive=marks)],
        variables={"name": {"value": "shop"}},
        configuration=CODE,
    )
    [planned] = document["resource_changes"]
    assert planned["change"]["after"] == {
        "p": "(sensitive)", "port": None, "public": None, "name": "shop", "rules": [{"from": 1}],
    }  # fmt: skip
    assert document["variables"] == {"name": {"value": "shop"}}


def test_a_secret_cannot_hide_a_resource_from_a_check() -> None:
    kind = "aws_s3_bucket_acl"
    marked = entry(f"{kind}.x", ["create"], None, {"tags": {"a": kind, "b": "create"}}, after_sensitive={"tags": True})
    [planned] = masked(resource_changes=[marked])["resource_changes"]
    assert (planned["address"], planned["type"]) == (f"{kind}.x", kind)
    assert planned["change"]["actions"] == ["create"]
