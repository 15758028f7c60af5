"""Operations that pyinfra runs on this machine: they read facts by one command, and notice each change."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.pyinfra import PROGRAM, ROOT, PyinfraRun, inherited
from tests.parts.patience import deadline

HEAD = """
from pathlib import Path
from pyinfra import host
from pyinfra.operations import python, server
from deploys.lib import facts, operations
from deploys.lib.operations import ensure_folder, write_file
work, owner = {work!r}, {owner!r}
"""
OWNER = subprocess.run(
    ["stat", "--format=%U:%G", "/proc/self"], capture_output=True, text=True, check=True
).stdout.strip()


@dataclass
class LocalDeploy:
    """Deploys on this machine, in a folder of the test."""

    folder: Path

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def begin(self, deploy: str, *options: str) -> subprocess.Popen[str]:
        script = self.folder / "deploy.py"
        script.write_text(HEAD.format(work=str(self.work), owner=OWNER) + deploy)
        return subprocess.Popen(
            [PROGRAM, "@local", *options, str(script)],
            cwd=ROOT,
            env={**inherited(), "PYINFRA_PROGRESS": "off"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, deploy: str, *options: str) -> PyinfraRun:
        running = self.begin(deploy, *options)
        text, _ = running.communicate(timeout=deadline(60))
        return PyinfraRun(running.returncode, text)

    def text(self, name: str) -> str:
        return (self.work / name).read_text()


@pytest.fixture
def local(tmp_path: Path) -> LocalDeploy:
    return LocalDeploy(tmp_path)


SEVEN_STEPS = """
ensure_folder(name="Folder", path=work, mode="750", owner=owner)
for n in host.loop(range(5)):
    write_file(name=f"File {n}", text=f"{n}", dest=f"{work}/{n}", mode="640", owner=owner)
operations.run_unless_exists(name="Once", path=f"{work}/once", commands=[f"touch {work}/once"])
"""


def test_one_command_reads_all_facts_and_only_differences_are_changed(local: LocalDeploy) -> None:
    first = local.run(SEVEN_STEPS, "-y")
    assert (first.code, first.changes) == (0, 7), first.text
    assert local.text("4") == "4\n"
    second = local.run(SEVEN_STEPS, "-y", "--debug")
    assert (second.code, second.changes, second.commands) == (0, 0, 1), second.text
    (local.work / "1").write_text("other")
    (local.work / "2").chmod(0o666)
    (local.work / "3").unlink()
    local.work.chmod(0o700)
    third = local.run(SEVEN_STEPS, "-y")
    assert (third.code, third.changes) == (0, 4), third.text
    assert local.text("1") == "1\n"
    modes = [path.stat().st_mode & 0o777 for path in (local.work, local.work / "2", local.work / "3")]
    assert modes == [0o750, 0o640, 0o640]
    assert sorted(path.name for path in local.work.iterdir()) == ["0", "1", "2", "3", "4", "once"]


def test_changes_by_other_operations_expire_the_facts(local: LocalDeploy) -> None:
    result = local.run(
        """
overwrite = f"echo wrong > {work}/a"

def overwrite_inside():
    for n in range(2):
        host.run_shell_command(overwrite)
        write_file(name=f"A inside {n}", text="right", dest=f"{work}/a", owner=owner)
    host.run_shell_command(overwrite)

write_file(name="A", text="right", dest=f"{work}/a", owner=owner)
server.shell(name="Overwrite", commands=[overwrite])
write_file(name="A again", text="right", dest=f"{work}/a", owner=owner)
write_file(name="A is right", text="right", dest=f"{work}/a", owner=owner)
python.call(name="Overwrite inside", function=overwrite_inside)
write_file(name="A at the end", text="right", dest=f"{work}/a", owner=owner)
once = f"{work}/once"
operations.run_unless_exists(
    name="Retry", path=once, commands=[f"touch {once}", "false"], _retries=1, _retry_delay=0
)
""",
        "-y",
    )
    assert (result.code, result.changes) == (0, 7), result.text
    assert local.text("a") == "right\n"
    assert re.search("operation: A is right.*\n.*No changes\n", result.text), result.text
    assert "No changes on retry 1" in result.text


def test_facts_expire_after_some_seconds(local: LocalDeploy) -> None:
    deploy = f"facts.FACTS_EXPIRE_AFTER = 0\n{SEVEN_STEPS.replace('touch', 'ls')}"
    result = local.run(deploy, "--dry", "--debug")
    assert (result.code, result.commands) == (0, 7), result.text


def test_a_file_that_fails_its_check_does_not_replace_the_old_one(local: LocalDeploy) -> None:
    local.work.mkdir()
    (local.work / "sums").write_text("right\n")
    deploy = 'write_file(name="Sums", text="bad", dest=f"{work}/sums", owner=owner, check="grep -q right {}")'
    result = local.run(deploy, "-y")
    assert result.code == 1, result.text
    assert local.text("sums") == "right\n"
    assert [path.name for path in local.work.iterdir()] == ["sums"]


def test_a_dry_run_shows_changes_and_changes_while_pyinfra_asks_are_noticed(local: LocalDeploy) -> None:
    local.work.mkdir()
    (local.work / "1").write_text("other\n")
    dry = local.run(SEVEN_STEPS, "--dry", "--diff")
    assert dry.code == 0, dry.text
    assert re.search("- other.*\n.*[+] 1", dry.text), dry.text
    assert dry.text.count("1 (@local)") == 7, dry.text
    assert local.text("1") == "other\n"
    asking = local.begin(SEVEN_STEPS)
    assert asking.stdout
    while "skip this step with -y" not in asking.stdout.readline():
        assert asking.poll() is None
    (local.work / "2").write_text("2\n")
    (local.work / "2").chmod(0o640)
    text, _ = asking.communicate("\n", timeout=deadline(60))
    assert (asking.returncode, PyinfraRun(0, text).changes) == (0, 6), text


def test_a_secret_is_written_once_and_never_printed(local: LocalDeploy) -> None:
    (local.folder / "work.secret").write_text("s3cret-s3cret\n")
    result = local.run(
        """
from inventories import Secret
secret = Secret(literal=Path(f"{work}.secret").read_text())
for n in host.loop(range(2)):
    operations.write_secret_file(name=f"Secret {n}", dest=f"{work}/secret", text=secret, owner=owner)
""",
        "-y", "-vvv", "--diff", "--debug",
    )  # fmt: skip
    assert (result.code, result.changes) == (0, 1), result.text
    assert local.text("secret") == "s3cret-s3cret\n"
    assert (local.work / "secret").stat().st_mode & 0o777 == 0o600
    assert "s3cret-s3cret" not in result.text
