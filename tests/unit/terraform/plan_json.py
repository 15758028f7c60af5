"""Plans as `terraform show -json` prints them, built for a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from terraform.plan import Plan, parse_plan


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
) -> Plan:
    document = {"format_version": version, "resource_drift": drifted, "resource_changes": planned, **more}
    return parse_plan(json.dumps(document))
