import subprocess
from pathlib import Path

import pytest

from jobs.backup.sets import passed_files


@pytest.mark.parametrize("nameless", [True, False])
def test_a_program_can_open_the_file_repeatedly_and_it_is_removed_afterwards(
    nameless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if not nameless:
        monkeypatch.setattr(passed_files, "_OPEN_FILES", tmp_path / "proc")
    with passed_files.new_file() as file:
        file.write(b"defs")
        file.flush()
        path = passed_files.path_for_child(file)
        assert (list(tmp_path.iterdir()) == []) == nameless
        read = subprocess.run(["cat", path, path], pass_fds=[file.fileno()], capture_output=True, check=True)
        assert read.stdout == b"defsdefs"
    assert list(tmp_path.iterdir()) == []
