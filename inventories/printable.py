"""Text from outside (tags, names, error messages) in a form that is safe to show.

A terminal obeys control characters, and a reader is deceived by characters that turn the direction of text. Whatever
shows text escapes it here, at the last moment: stores and --json keep the exact text.
"""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """Return the text with escape sequences for all characters that can break a line or a terminal."""
    return text if text.isprintable() else "".join(_escaped_character(character) for character in text)


def printable_lines(text: str) -> str:
    """Return a text of several lines in which only line breaks and tabs are control characters."""
    return "".join(each if each in "\n\t" else printable(each) for each in re.split(r"([\n\t])", text))


def _escaped_character(character: str) -> str:
    """Return one character; if it is not printable, as \\n, \\x1b or \\u202e."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "replace").decode()
