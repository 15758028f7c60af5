"""Plans that cannot be read."""

from __future__ import annotations

import pytest

from terraform import plan
from terraform.errors import UnreadablePlan
from tests.unit.terraform.plan_json import made


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


def test_unknown_keys_are_ignored() -> None:
    assert made(version="1.99", deferred_changes=[{}], applyable=True, errored=False).is_empty
