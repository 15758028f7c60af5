"""Which version of an object was current at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.store.as_of import version_at
from jobs.store.interface import ObjectVersion

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def version(name: str, minutes: int, *, is_current: bool = False, deleted: bool = False) -> ObjectVersion:
    return ObjectVersion(name, NOON + timedelta(minutes=minutes), is_current, deleted)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([], None),
        ([version("later", 1, is_current=True)], None),
        ([version("now", 0, is_current=True)], "now"),
        ([version("later", 1, is_current=True), version("before", -1), version("first", -9)], "before"),
        ([version("deleted later", 1, is_current=True, deleted=True), version("before", -1)], "before"),
        ([version("deleted", -1, is_current=True, deleted=True), version("before", -2)], None),
        ([version("again", -1, is_current=True), version("deleted", -2, deleted=True), version("x", -3)], "again"),
        ([version("x", -1), version("deleted", -1, is_current=True, deleted=True)], None),  # in the same second
        ([version("deleted", -1, deleted=True), version("x", -1), version("y", 1, is_current=True)], "x"),
        ([version("newer", -1), version("older", -1), version("y", 1, is_current=True)], "newer"),  # as S3 lists them
    ],
)
def test_the_current_version_at_noon(versions: list[ObjectVersion], expected: str | None) -> None:
    found = version_at(versions, NOON)
    assert (found.id if found else None) == expected
