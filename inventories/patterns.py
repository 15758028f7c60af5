"""Patterns of names in rules, such as those of `ignore`."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import cache


@cache
def name_pattern(text: str) -> re.Pattern[str]:
    """Compile a file name pattern in which [ and ] are plain characters, since addresses contain them."""
    return re.compile(translate(text.replace("[", "[[]")))
