"""An example of a check of plans: no public bucket, complete tags, no destruction of data.

Copy it and change the rules. It needs only Python:

    [terraform]
    checks = [["python3", "terraform/policy/policy.py", "{plan}"]]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REQUIRED_TAGS = ("Environment", "Project", "Owner", "CostCenter")
DATA = frozenset({
    "aws_db_instance", "aws_dynamodb_table", "aws_ebs_volume", "aws_efs_file_system", "aws_kms_key", "aws_rds_cluster",
    "aws_s3_bucket", "aws_secretsmanager_secret",
})  # fmt: skip
"""The types of resources whose data is lost with them."""
PRIVATE_ACLS = (None, "private", "log-delivery-write", "bucket-owner-full-control", "bucket-owner-read")


def main() -> int:
    """Print a line for each violation, and return 1 if there is one."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    found = list(violations(plan))
    for line in found:
        sys.stdout.write(f"{line}\n")
    if not found:
        sys.stdout.write("no violation\n")
    return 1 if found else 0


def violations(plan: dict[str, Any]) -> Iterator[str]:
    """Yield each violation with the address of its resource."""
    for resource in plan.get("resource_changes") or ():
        change = resource["change"]
        if resource.get("mode") == "data" or change["actions"] in (["no-op"], ["read"]):
            continue
        address = resource["address"]
        if "delete" in change["actions"] and resource["type"] in DATA:
            yield f"{address}: destroys data; remove it from the plan, or change DATA"
        if change.get("after"):
            after, unknown = change["after"], change.get("after_unknown") or {}
            yield from (f"{address}: {fact}" for fact in public_access(resource["type"], after, unknown))
            yield from (f"{address}: tag {tag} is missing" for tag in missing_tags(after, unknown))


def public_access(kind: str, after: dict[str, Any], unknown: dict[str, Any]) -> Iterator[str]:
    """Yield what makes a bucket public. A masked value is not private: nobody can see that it is."""
    if kind == "aws_s3_bucket_public_access_block":
        for name in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"):
            if after.get(name) is not True and not unknown.get(name):
                yield f"{name} is not true"
    if kind in ("aws_s3_bucket", "aws_s3_bucket_acl") and after.get("acl") not in PRIVATE_ACLS:
        yield f"the ACL is {after['acl']}"
    if kind in ("aws_s3_bucket", "aws_s3_bucket_policy") and any(map(is_public, statements(after.get("policy")))):
        yield "the policy allows access to everybody"


def statements(policy: str | None) -> list[dict[str, Any]]:
    """Return the statements of a policy; a policy that cannot be read allows everything."""
    try:
        found = json.loads(policy)["Statement"] if policy else []
    except (ValueError, KeyError, TypeError):
        return [{"Effect": "Allow", "Principal": "*"}]
    return found if isinstance(found, list) else [found]


def is_public(statement: dict[str, Any]) -> bool:
    """Return whether a statement allows access to everybody, without a condition."""
    principal = statement.get("Principal")
    principals = list(principal.values()) if isinstance(principal, dict) else [principal]
    names = [name for each in principals for name in (each if isinstance(each, list) else [each])]
    return statement.get("Effect") == "Allow" and "*" in names and not statement.get("Condition")


def missing_tags(after: dict[str, Any], unknown: dict[str, Any]) -> Iterator[str]:
    """Yield the required tags that a resource lacks; a resource without `tags_all` takes no tags."""
    if "tags_all" in after and not unknown.get("tags_all"):
        tags = after["tags_all"] or {}
        yield from (tag for tag in REQUIRED_TAGS if not tags.get(tag))


if __name__ == "__main__":
    sys.exit(main())
