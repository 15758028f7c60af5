"""Where a stack's files are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from terraform.place import Place


@pytest.mark.parametrize(
    ("writable", "expected"), [(True, "repository/.cache/terraform"), (False, "home/.cache/groundcrew/terraform")]
)
def test_what_terraform_keeps_is_beside_the_code_or_at_home_where_that_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: str, *, writable: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "access", lambda _path, _mode: writable)
    assert Place(tmp_path / "repository", "try", "network").cache == tmp_path / expected
