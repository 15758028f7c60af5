"""Saved plans in a directory that other users of the machine can reach."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from terraform.errors import StackError
from terraform.saved_files import require_closed, write_private


def test_a_link_that_waits_for_the_plan_is_replaced(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("of somebody else")
    (tmp_path / "network.tfplan").symlink_to(other)
    write_private(tmp_path / "network.tfplan", b"plan")
    assert (tmp_path / "network.tfplan").read_bytes() == b"plan"
    assert (tmp_path / "network.tfplan").lstat().st_mode == 0o100600
    assert other.read_text() == "of somebody else"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.tfplan", "other"]


@pytest.mark.parametrize(("mode", "closed"), [(0o700, True), (0o755, True), (0o775, False), (0o757, False)])
def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, mode: int, closed: bool) -> None:
    tmp_path.chmod(mode)
    if closed:
        require_closed(tmp_path)
        return
    with pytest.raises(StackError, match=f"other users of this machine can write to this.*chmod go-w {tmp_path}"):
        require_closed(tmp_path)


@pytest.mark.parametrize(("owner", "closed"), [(0, True), (1000, True), (65534, False)])
def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, closed: bool
) -> None:
    tmp_path.chmod(0o755)
    stat = SimpleNamespace(st_uid=owner, st_mode=tmp_path.stat().st_mode)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(Path, "stat", lambda self: stat)
    if closed:
        require_closed(tmp_path)
        return
    with pytest.raises(StackError, match="another user owns this"):
        require_closed(tmp_path)
