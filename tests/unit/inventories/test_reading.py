"""Hints for unknown names, and values and paths as a file writes them."""

from __future__ import annotations

import pytest

from inventories.reading import as_written, suggestion, toml_path


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bakcup", "did you mean backup?"),
        ("BACKUP", "did you mean backup?"),
        ("xyzzy", "use one of: backup, verify"),
    ],
)
def test_an_unknown_name_gets_a_hint(name: str, hint: str) -> None:
    assert suggestion(name, ("backup", "verify")) == hint


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3"),
        (1.5, "1.5"),
        ({"a": 1}, "a table"),
        (["a"], "a list"),
        ("staging", '"staging"'),
        ("two\nlines", '"two\\nlines"'),
        ("x" * 100, f'"{"x" * 59}…"'),
        ("postgresql://backup:pw1@db/shop", '"postgresql://backup:***@db/shop"'),
    ],
)
def test_a_value_is_shown_as_written(value: object, text: str) -> None:
    assert as_written(value) == text


def test_a_huge_number_is_described() -> None:
    assert as_written(10**5000) == "a number with thousands of digits"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("databases", "my-shop", "url"), "databases.my-shop.url"),
        (("databases", "a/b"), 'databases."a/b"'),
        (("stacks", "a\nb"), 'stacks."a\\nb"'),
    ],
)
def test_a_path_has_quotes_where_toml_needs_them(path: tuple[str, ...], text: str) -> None:
    assert toml_path(path) == text
