"""docs/security.md names tests that exist."""

from __future__ import annotations

import re

from tests.parts.readme import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(tests/[^`]+|test_[^`]+\.py)`", PAGE))
    files = {str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("*.py")}
    assert len(named) > 20
    assert sorted(named - files) == []  # full paths: the same name exists in several folders


def test_each_attacker_has_a_test_and_limits() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    assert len(sections) >= 8
    for section in sections:
        title, _, text = section.partition("\n")
        assert "`tests/" in text, title
        assert re.search("What they can do|not promise", text), title
