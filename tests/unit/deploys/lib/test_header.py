"""The first line of the files that deploys write."""

from __future__ import annotations

from pathlib import Path

from deploys.lib.header import SENTENCE

LIB = Path(__file__).parents[4] / "deploys"


def test_the_sentence_is_written_in_one_place() -> None:
    assert [file.name for file in LIB.rglob("*.py") if SENTENCE in file.read_text()] == ["header.py"]
