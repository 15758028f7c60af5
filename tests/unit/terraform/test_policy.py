"""The example of a policy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from terraform.policy.policy import violations
from tests.unit.terraform.plan_json import entry

TAGS = {"Environment": "staging", "Project": "acme", "Owner": "ann", "CostCenter": "1"}
CLOSED = dict.fromkeys(
    ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"), True
)


def policy(**more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", **more}
    return {"policy": json.dumps({"Statement": [statement]})}


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (entry("aws_s3_bucket_acl.a", ["create"], None, {"acl": "public-read"}), ["the ACL is public-read"]),
        (entry("aws_s3_bucket_acl.a", ["create"], None, {"acl": "(sensitive)"}), ["the ACL is (sensitive)"]),
        (entry("aws_s3_bucket_acl.a", ["create"], None, {"acl": "private"}), []),
        (entry("aws_s3_bucket_public_access_block.a", ["update"], CLOSED, CLOSED), []),
        (
            entry("aws_s3_bucket_public_access_block.a", ["update"], CLOSED, {**CLOSED, "block_public_acls": None}),
            ["block_public_acls is not true"],
        ),
        (entry("aws_s3_bucket_policy.a", ["create"], None, policy()), ["the policy allows access to everybody"]),
        (
            entry("aws_s3_bucket_policy.a", ["create"], None, policy(Principal={"AWS": ["*"]})),
            ["the policy allows access to everybody"],
        ),
        (
            entry("aws_s3_bucket_policy.a", ["create"], None, {"policy": "(sensitive)"}),
            ["the policy allows access to everybody"],
        ),
        (entry("aws_s3_bucket_policy.a", ["create"], None, policy(Condition={"Bool": {"x": "y"}})), []),
        (entry("aws_s3_bucket_policy.a", ["create"], None, policy(Effect="Deny")), []),
        (entry("aws_s3_bucket_policy.a", ["create"], None, policy(Principal={"AWS": "arn:aws:iam::1:root"})), []),
        (entry("aws_vpc.a", ["create"], None, {"tags_all": TAGS}), []),
        (entry("aws_vpc.a", ["create"], None, {"tags_all": {**TAGS, "Owner": ""}}), ["tag Owner is missing"]),
        (entry("aws_vpc.a", ["create"], None, {"tags_all": None}, after_unknown={"tags_all": True}), []),
        (entry("aws_vpc.a", ["no-op"], {}, {"tags_all": {}}), []),
        (
            entry("aws_s3_bucket.a", ["delete"], {"bucket": "a"}, None),
            ["destroys data; remove it from the plan, or change DATA"],
        ),
        (
            entry("aws_db_instance.a", ["delete", "create"], {}, {}),
            ["destroys data; remove it from the plan, or change DATA"],
        ),
        (entry("aws_vpc.a", ["delete"], {}, None), []),
        (entry("data.aws_vpc.a", ["read"], None, {"tags_all": {}}, mode="data"), []),
    ],
)
def test_violations(planned: dict[str, Any], expected: list[str]) -> None:
    assert list(violations({"resource_changes": [planned]})) == [f"{planned['address']}: {each}" for each in expected]
