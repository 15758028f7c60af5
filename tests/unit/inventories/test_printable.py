"""Text from outside, in a form that is safe to show."""

from __future__ import annotations

import pytest

from inventories.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Jörg (東京) 🚀", "Jörg (東京) 🚀"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[2J\x1b]8;;http://evil\x07", "\\x1b[2J\\x1b]8;;http://evil\\x07"),
        ("\x9b31m\x85\x7f\x00", "\\x9b31m\\x85\\x7f\\x00"),
        ("exe.\u202egpj \u2066a\u2069 \u200f", "exe.\\u202egpj \\u2066a\\u2069 \\u200f"),
        ("one\u2028two\u2029", "one\\u2028two\\u2029"),
        ("zero\u200bwidth\ufeff\u00ad", "zero\\u200bwidth\\ufeff\\xad"),
        ("\ud800 \udc9b \U000e0041", "\\ud800 \\udc9b \\U000e0041"),
    ],
)
def test_what_a_terminal_obeys_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_a_text_of_several_lines_keeps_only_its_line_breaks_and_tabs() -> None:
    assert printable_lines("a\n\tb\x1b[31m\r\n\u2028") == "a\n\tb\\x1b[31m\\r\n\\u2028"
