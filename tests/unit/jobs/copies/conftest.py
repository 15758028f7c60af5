"""An environment with a store and a copy, both in directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.copies import TwoPlaces, two_places


@pytest.fixture
def places(tmp_path: Path) -> TwoPlaces:
    return two_places(tmp_path)
