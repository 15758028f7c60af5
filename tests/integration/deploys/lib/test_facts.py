"""Operations that look ahead, run by pyinfra on this machine: they ask once, and are not fooled by what they know."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.pyinfra import PROGRAM, ROOT, Told

HEAD = """
from pathlib import Path
from pyinfra import host
from pyinfra.operations import python, server
from deploys import look, pieces
from deploys.lib.operations import file, folder
here, owner = {here!r}, {owner!r}
"""
OWNER = subprocess.run(
    ["stat", "--format=%U:%G", "/proc/self"], capture_output=True, text=True, check=True
).stdout.strip()


@dataclass
class Here:
    """A folder of this machine, and deploys that work in it."""

    folder: Path

    def begin(self, deploy: str, *told: str) -> subprocess.Popen[str]:
        script = self.folder / "deploy.py"
        script.write_text(HEAD.format(here=str(self.folder / "there"), owner=OWNER) + deploy)
        return subprocess.Popen(
            [PROGRAM, "@local", *told, str(script)],
            cwd=ROOT,
            env={**os.environ, "PYINFRA_PROGRESS": "off"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, deploy: str, *told: str) -> Told:
        running = self.begin(deploy, *told)
        text, _ = running.communicate(timeout=60)
        return Told(running.returncode, text)

    def text(self, name: str) -> str:
        return (self.folder / "there" / name).read_text()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


MANY = """
folder(name="Folder", path=here, mode="750", owner=owner)
for n in host.loop(range(5)):
    file(name=f"File {n}", text=f"{n}", dest=f"{here}/{n}", mode="640", owner=owner)
pieces.made_once(name="Once", path=f"{here}/once", commands=[f"touch {here}/once"])
"""


def test_what_is_right_is_found_by_one_command_and_what_is_wrong_is_put_right(here: Here) -> None:
    first = here.run(MANY, "-y")
    assert (first.code, first.changes) == (0, 7), first.text
    assert here.text("4") == "4\n"
    second = here.run(MANY, "-y", "--debug")
    assert (second.code, second.changes, second.commands) == (0, 0, 1), second.text
    there = here.folder / "there"
    (there / "1").write_text("else")
    (there / "2").chmod(0o666)
    (there / "3").unlink()
    there.chmod(0o700)
    third = here.run(MANY, "-y")
    assert (third.code, third.changes) == (0, 4), third.text
    assert here.text("1") == "1\n"
    assert [path.stat().st_mode & 0o777 for path in (there, there / "2", there / "3")] == [0o750, 0o640, 0o640]
    assert sorted(path.name for path in there.iterdir()) == ["0", "1", "2", "3", "4", "once"]


def test_what_was_done_in_between_is_seen(here: Here) -> None:
    told = here.run(
        """
spoil_it = f"echo wrong > {here}/a"

def spoil():
    for n in range(2):
        host.run_shell_command(spoil_it)
        file(name=f"A inside {n}", text="right", dest=f"{here}/a", owner=owner)
    host.run_shell_command(spoil_it)

file(name="A", text="right", dest=f"{here}/a", owner=owner)
server.shell(name="Spoil it", commands=[spoil_it])
file(name="A again", text="right", dest=f"{here}/a", owner=owner)
file(name="A is right", text="right", dest=f"{here}/a", owner=owner)
python.call(name="Spoil it inside", function=spoil)
file(name="A at the end", text="right", dest=f"{here}/a", owner=owner)
once = f"{here}/once"
pieces.made_once(name="Tried again", path=once, commands=[f"touch {once}", "false"], _retries=1, _retry_delay=0)
""",
        "-y",
    )
    assert (told.code, told.changes) == (0, 7), told.text
    assert here.text("a") == "right\n"
    assert re.search("operation: A is right.*\n.*No changes\n", told.text)
    assert "No changes on retry 1" in told.text


def test_an_answer_is_forgotten_after_a_while(here: Here) -> None:
    told = here.run(f"look.LASTS = 0\n{MANY.replace('touch', 'ls')}", "--dry", "--debug")
    assert (told.code, told.commands) == (0, 7), told.text


def test_a_file_that_a_program_finds_wrong_never_goes_live(here: Here) -> None:
    there = here.folder / "there"
    there.mkdir()
    (there / "sums").write_text("right\n")
    told = here.run('file(name="Sums", text="bad", dest=f"{here}/sums", owner=owner, check="grep -q right {}")', "-y")
    assert told.code == 1
    assert here.text("sums") == "right\n"
    assert [path.name for path in there.iterdir()] == ["sums"]


def test_dry_shows_what_would_change_and_what_changes_while_one_thinks_is_seen(here: Here) -> None:
    there = here.folder / "there"
    there.mkdir()
    (there / "1").write_text("else\n")
    dry = here.run(MANY, "--dry", "--diff")
    assert dry.code == 0
    assert re.search("- else.*\n.*[+] 1", dry.text)
    assert dry.text.count("1 (@local)") == 7, dry.text
    assert here.text("1") == "else\n"
    asks = here.begin(MANY)
    assert asks.stdout
    while "skip this step with -y" not in asks.stdout.readline():
        assert asks.poll() is None
    (there / "2").write_text("2\n")
    (there / "2").chmod(0o640)
    text, _ = asks.communicate("\n", timeout=60)
    assert (asks.returncode, Told(0, text).changes) == (0, 6), text


def test_a_secret_is_written_once_and_nowhere_shown(here: Here) -> None:
    (here.folder / "there.secret").write_text("s3cret-s3cret\n")
    told = here.run(
        """
from inventories import Secret
secret = Secret(literal=Path(f"{here}.secret").read_text())
for n in host.loop(range(2)):
    pieces.secret_file(name=f"Secret {n}", dest=f"{here}/secret", text=secret, owner=owner)
""",
        "-y", "-vvv", "--diff", "--debug",
    )  # fmt: skip
    assert (told.code, told.changes) == (0, 1), told.text
    assert here.text("secret") == "s3cret-s3cret\n"
    assert (here.folder / "there/secret").stat().st_mode & 0o777 == 0o600
    assert "s3cret-s3cret" not in told.text
