"""Who changed a resource outside Terraform, from the event history of CloudTrail (the last 90 days)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

from inventories.printable import printable
from terraform.drift import DriftFinding
from terraform.plan import Plan

MAX_RESOURCES = 10
"""CloudTrail answers two requests a second, so only so many resources are looked up."""


def last_change(events: Iterable[Mapping[str, Any]]) -> str:
    """Return who made the newest of these events that changed something, what it was and when; "" if none did."""
    for event in sorted(events, key=lambda event: event["EventTime"], reverse=True):
        details = _details(event)
        if str(event.get("ReadOnly")).lower() != "true" and not details.get("errorCode"):
            identity = details.get("userIdentity") or {}
            principal = identity.get("arn") or identity.get("invokedBy") or event.get("Username") or "unknown"
            time = event["EventTime"].astimezone(UTC)
            return printable(f"{principal}, {event.get('EventName')}, {time:%Y-%m-%d %H:%M} UTC")
    return ""


def _details(event: Mapping[str, Any]) -> dict[str, Any]:
    try:
        details = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:
        return {}
    return details if isinstance(details, dict) else {}


def resource_ids(plan: Plan, findings: Iterable[DriftFinding]) -> dict[str, str]:
    """Return how the cloud names each drifted resource, by address."""
    ids = {change.address: (change.before or {}).get("id") for change in plan.drift}
    drifted = [each.address for each in findings if each.kind.is_drift and not each.ignored]
    named = {address: ids.get(address) for address in drifted}
    return {address: name for address, name in list(named.items())[:MAX_RESOURCES] if isinstance(name, str) and name}


def with_authors(client: Any, plan: Plan, findings: Sequence[DriftFinding]) -> tuple[DriftFinding, ...]:
    """Return the findings with what CloudTrail says about the last change of their resource, or why it says nothing."""
    from botocore.exceptions import BotoCoreError, ClientError

    authors: dict[str, str] = {}
    for address, name in resource_ids(plan, findings).items():
        attribute = {"AttributeKey": "ResourceName", "AttributeValue": name}
        try:
            authors[address] = last_change(client.lookup_events(LookupAttributes=[attribute], MaxResults=50)["Events"])
        except (ClientError, BotoCoreError) as error:
            reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            authors[address] = printable(f"unknown: CloudTrail cannot be read ({reason})")
    return tuple(
        replace(each, by=authors.get(each.address, "")) if each.kind.is_drift and not each.ignored else each
        for each in findings
    )
