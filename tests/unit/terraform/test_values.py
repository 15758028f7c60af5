"""The comparison and the display of attribute values."""

from __future__ import annotations

from typing import Any

import pytest

from terraform import values


def test_two_long_texts_are_shown_from_their_first_difference() -> None:
    long = "x" * 300
    before, after = values.short_texts(f"{long} and {{s3:GetObject}}", f"{long} and {{s3:PutObject}}")
    assert (before, after) == ("…xxxxxxxxxxx and {s3:GetObject}", "…xxxxxxxxxxx and {s3:PutObject}")
    assert values.short_texts("short", long) == ("short", f"{long[: values.MAX_LENGTH]}…")


EMPTY: tuple[Any, ...] = (None, "", [], {}, {"a": None}, {"a": {"b": []}})


@pytest.mark.parametrize("first", EMPTY)
@pytest.mark.parametrize("second", EMPTY)
def test_empty_values_are_equal_at_any_depth(first: Any, second: Any) -> None:
    assert values.are_equal(first, second)
    assert values.are_equal({"x": [{"y": first, "z": 1}, 2]}, {"x": [{"y": second, "z": 1}, 2]})
    assert list(values.differing_paths({"x": first}, {"x": second})) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"a": 1, "b": {"c": 2, "d": 3}}', '{"b":{"d":3,"c":2},"a":1}'),
        ('[{"a": 1, "b": 2}]', ' [ {"b": 2, "a": 1} ]\n'),
        ("{}", "{ }"),
    ],
)
def test_json_texts_are_equal_in_any_key_order_and_layout(first: str, second: str) -> None:
    assert values.are_equal(first, second)
    assert list(values.differing_paths({"p": [first, 1]}, {"p": [second, 1]})) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, True), (0, False), (0, None), (False, None), ([None], []), ([{}], []), ([1, 2], [2, 1]), ("1", 1),
        ("[1, 2]", "[2, 1]"), ('{"a": 1}', '{"a": true}'), ('{"a": null}', '{"a": ""}'), ('{"a": null}', "{}"),
        ("{}", ""), ("{a}", "{ a }"), ('{"a": 1, "a": 2}', '{"a": 2}'), ("[" * 100_000, "[" * 99_999),
    ],
)  # fmt: skip
def test_values_that_differ(first: Any, second: Any) -> None:
    assert not values.are_equal(first, second)
    assert list(values.differing_paths({"x": first}, {"x": second})) == [("x",)]


def test_lists_of_blocks_are_shown_without_the_blocks_that_mean_the_same() -> None:
    before, after = [{"p": 80, "l": None}, {"p": 443}], [{"p": 80, "l": []}, {"p": 8443}]
    assert values.short_texts(before, after) == ('[{"p": 443}]', '[{"p": 8443}]')
