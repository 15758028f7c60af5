"""Saved plans in a directory that other users of the machine can reach."""

from __future__ import annotations

from pathlib import Path

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


@pytest.mark.parametrize(("mode", "closed"), [(0o700, True), (0o755, True), (0o775, True), (0o777, False)])
def test_a_directory_that_everybody_can_write_to_is_refused(tmp_path: Path, mode: int, closed: bool) -> None:
    tmp_path.chmod(mode)
    if closed:
        require_closed(tmp_path)
        return
    with pytest.raises(StackError, match="every user of this machine can write to this directory"):
        require_closed(tmp_path)
