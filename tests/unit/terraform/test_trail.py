"""Who changed a drifted resource: what CloudTrail's answers mean. The emulator has no event history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from terraform.drift import drift_findings
from terraform.report import DriftReport, StackReport, as_json, as_markdown, as_text
from terraform.trail import MAX_RESOURCES, last_change, with_authors
from tests.unit.terraform.plan_json import entry, made

MALLORY = "arn:aws:iam::123456789012:user/mallory"


def event(hour: int, name: str = "CreateTags", *, reading: bool = False, **details: Any) -> dict[str, Any]:
    identity = {"userIdentity": {"arn": MALLORY}, **details}
    return {
        "EventName": name, "EventTime": datetime(2026, 11, 29, hour, tzinfo=UTC), "Username": "mallory",
        "ReadOnly": str(reading).lower(), "CloudTrailEvent": json.dumps(identity),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([event(9), event(10, "DeleteTags")], f"{MALLORY}, DeleteTags, 2026-11-29 10:00 UTC"),
        ([event(9), event(10, "DescribeVpcs", reading=True)], f"{MALLORY}, CreateTags, 2026-11-29 09:00 UTC"),
        ([event(9), event(10, errorCode="AccessDenied")], f"{MALLORY}, CreateTags, 2026-11-29 09:00 UTC"),
        ([event(9, userIdentity={"invokedBy": "autoscaling.amazonaws.com"})],
         "autoscaling.amazonaws.com, CreateTags, 2026-11-29 09:00 UTC"),
        ([event(9, userIdentity={})], "mallory, CreateTags, 2026-11-29 09:00 UTC"),
        ([{**event(9), "CloudTrailEvent": "no JSON"}], "mallory, CreateTags, 2026-11-29 09:00 UTC"),
        ([event(9, "Evil\x1b[2J")], f"{MALLORY}, Evil\\x1b[2J, 2026-11-29 09:00 UTC"),
        ([event(9, reading=True)], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_the_last_change(events: list[dict[str, Any]], expected: str) -> None:
    assert last_change(events) == expected


class Trail:
    """CloudTrail, which knows some resources."""

    def __init__(self, known: dict[str, list[dict[str, Any]]], error: str = "") -> None:
        self.known, self.error, self.asked = known, error, list[str]()

    def lookup_events(self, *, LookupAttributes: list[dict[str, str]], MaxResults: int) -> dict[str, Any]:
        assert MaxResults == 50
        if self.error:
            raise ClientError({"Error": {"Code": self.error}}, "LookupEvents")
        [attribute] = LookupAttributes
        self.asked.append(attribute["AttributeValue"])
        return {"Events": self.known.get(attribute["AttributeValue"], [])}


def plan(number: int) -> Any:
    names = [f"aws_vpc.v{index}" for index in range(number)]
    drifted = [
        entry(name, ["update"], {"id": f"vpc-{name[-1]}", "n": 1}, {"id": f"vpc-{name[-1]}", "n": 2}) for name in names
    ]
    planned = [entry(name, ["update"], {"n": 2}, {"n": 1}) for name in names]
    return made(drifted, [*planned, entry("aws_vpc.new", ["create"], None, {})])


def test_drifted_resources_have_an_author_and_pending_ones_none() -> None:
    trail = Trail({"vpc-0": [event(9)]})
    findings = with_authors(trail, plan(2), drift_findings(plan(2)))
    author = f"{MALLORY}, CreateTags, 2026-11-29 09:00 UTC"
    assert {each.address: each.by for each in findings} == {
        "aws_vpc.v0": author, "aws_vpc.v1": "", "aws_vpc.new": "",
    }  # fmt: skip
    assert trail.asked == ["vpc-0", "vpc-1"]
    report = DriftReport("staging", (StackReport("network", findings),))
    assert f"aws_vpc.v0 n: 1 → 2  (last changed by {author})" in "\n".join(line for line, _ in as_text(report))
    assert f"(last changed by `{author}`) |" in "\n".join(as_markdown(report))
    assert as_json(report)["stacks"][0]["findings"][0]["last_changed_by"] == author


def test_without_the_permission_a_finding_says_so() -> None:
    findings = with_authors(Trail({}, "AccessDeniedException"), plan(1), drift_findings(plan(1)))
    assert findings[0].by == "unknown: CloudTrail cannot be read (AccessDeniedException)"


def test_only_some_resources_are_looked_up() -> None:
    trail = Trail({})
    with_authors(trail, plan(MAX_RESOURCES + 5), drift_findings(plan(MAX_RESOURCES + 5)))
    assert len(trail.asked) == MAX_RESOURCES
