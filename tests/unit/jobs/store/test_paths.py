"""Keys as file paths, and back."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.store.paths import file_names, key_level

LEVELS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/"), max_size=700)


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("manifest.json", ["manifest.json"]),
        ("20261121T020000Z-3f9a", ["20261121T020000Z-3f9a"]),
        ("with space+plus", ["with space+plus"]),
        ("", ["%-"]),
        (".", ["%2E"]),
        ("..", ["%2E%2E"]),
        (".hidden", [".hidden"]),
        ("100%", ["100%25"]),
        ("%open", ["%25open"]),
        ("new\nline\0", ["new%0Aline%00"]),
        ("x" * 500, ["x" * 240 + "%~", "x" * 240 + "%~", "x" * 20]),
    ],
)
def test_a_level_of_a_key_becomes_safe_file_names(level: str, names: list[str]) -> None:
    assert file_names(level) == names
    assert key_level(names) == level


@given(LEVELS)
def test_file_names_lead_back_to_every_level(level: str) -> None:
    names = file_names(level)
    assert key_level(names) == level
    assert key_level([*names[:-1], names[-1] + "%"]) == level
    assert all(0 < len(os.fsencode(name)) <= 243 and not {"/", "\0"} & set(name) for name in names)
    assert not {".", "..", "%open", "%lock"} & set(names)


@given(LEVELS, LEVELS)
def test_two_levels_never_have_the_same_file_names(one: str, other: str) -> None:
    assert (file_names(one) == file_names(other)) == (one == other)
