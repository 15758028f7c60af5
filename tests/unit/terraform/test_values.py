"""The display of attribute values."""

from __future__ import annotations

from terraform import values


def test_two_long_texts_are_shown_from_their_first_difference() -> None:
    long = "x" * 300
    before, after = values.short_texts(f"{long} and {{s3:GetObject}}", f"{long} and {{s3:PutObject}}")
    assert (before, after) == ("…xxxxxxxxxxx and {s3:GetObject}", "…xxxxxxxxxxx and {s3:PutObject}")
    assert values.short_texts("short", long) == ("short", f"{long[: values.MAX_LENGTH]}…")
