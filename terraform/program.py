"""Terraform, called through python-terraform: what that would do wrong is done right here."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

from python_terraform import IsFlagged
from python_terraform import Terraform as PythonTerraform

from terraform.backend import Version, version_text
from terraform.diagnosis import CommandStart, diagnose
from terraform.errors import NoTerraform, StackError

OLDEST: Version = (1, 0)
LOCK_TIMEOUT = "60s"
WITH_CHANGES = 2
_NOT_OURS = ("TF_CLI_ARGS", "TF_WORKSPACE", "TF_LOG", "TF_DATA_DIR", "TF_INPUT", "TF_REATTACH_PROVIDERS")


class StartProgram(Protocol):
    """Starts a program, which is ended with the block if we are told to end. Passed in from above."""

    def __call__(self, argv: Sequence[str], **popen: Any) -> AbstractContextManager[subprocess.Popen[bytes]]: ...


@contextmanager
def start_directly(argv: Sequence[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """For scripts: the program is a child like any other."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, **popen) as running:
        yield running


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def _to_nobody(_line: str) -> None:
    pass


def process_environment(own: Path, cache: Path, around: Mapping[str, str]) -> dict[str, str]:
    """What Terraform is started with: nobody's own settings may change what a command means."""
    ours = {name: value for name, value in around.items() if not name.startswith(_NOT_OURS)}
    settings = {"TF_DATA_DIR": str(own), "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    return {"TF_PLUGIN_CACHE_DIR": str(cache / "plugins"), **ours, **settings}


class TerraformProgram(PythonTerraform):  # type: ignore[misc]  # it has no types
    """One stack's Terraform. A closed set of commands, each with options of its own and none that comes by itself."""

    def __init__(
        self,
        name: str,
        path: str,
        folder: Path,
        environment: Mapping[str, str],
        start: StartProgram,
        *,
        on_line: Callable[[str], object] = _to_nobody,
    ) -> None:
        super().__init__(working_dir=str(folder), terraform_bin_path=path)
        self._name = name
        self._environment = environment
        self._start = start
        self._on_line = on_line

    def __getattr__(self, name: str) -> NoReturn:
        """A typo is an error, and no command."""
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def there(self, folder: Path, own: Path) -> TerraformProgram:
        """The same program in another folder, with other files of its own."""
        surroundings = {**self._environment, "TF_DATA_DIR": str(own)}
        return TerraformProgram(
            self._name, self.terraform_bin_path, folder, surroundings, self._start, on_line=self._on_line
        )

    def read_state_file(self, file_path: str | None = None) -> None:
        """State is asked for, never read from files that Terraform keeps for itself."""

    def cmd(
        self, cmd: str, *args: str, accepts: Sequence[int] = (0,), listen: bool = False, **options: Any
    ) -> CommandResult:
        """Run a command; a StackError that says what to do, if it ends otherwise than accepted.

        Lines are passed on only where it is to `listen`: those of plans, outputs and states have secrets in them.
        """
        argv: list[str] = self.generate_cmd_string(cmd, *args, **options)
        begun = CommandStart(socket.gethostname(), datetime.now(UTC))
        try:
            ended = self._run(argv, self._on_line if listen else _to_nobody)
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            raise self._not_there() from None
        if ended.code not in accepts:
            raise diagnose(self._name, f"{Path(argv[0]).name} {cmd}", ended.err or ended.out, ended.code, begun)
        return ended

    def _not_there(self) -> StackError:
        if not Path(self.working_dir).is_dir():
            return StackError(f"{self._name}: there is no folder {self.working_dir}; add it with the stack's .tf files")
        way_out = "install it, or name another in [terraform] program"
        return NoTerraform(f"{self._name}: there is no program {self.terraform_bin_path} on this machine; {way_out}")

    def _run(self, argv: Sequence[str], on_line: Callable[[str], object]) -> CommandResult:
        popen = {
            "cwd": self.working_dir,
            "env": self._environment,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        with self._start(argv, **popen) as running:
            out, err = running.stdout, running.stderr
            assert out is not None
            assert err is not None
            said: list[bytes] = []
            beside = threading.Thread(target=lambda: said.append(err.read()), daemon=True)
            beside.start()
            printed = _listened(out, on_line)
            beside.join()
            code = running.wait()
        return CommandResult(code, printed, b"".join(said).decode(errors="replace"))

    def version(self) -> Version:
        """The version; NoProgram if it is too old."""
        return supported_version(self.cmd("version").out, self._name, self.terraform_bin_path)

    def init(self, backend: Path) -> None:
        """Set the stack's folder up."""
        self.cmd("init", input=False, no_color=IsFlagged, reconfigure=IsFlagged, backend_config=str(backend))

    def plan(
        self,
        out: Path,
        var_files: Sequence[Path],
        *,
        lock: bool,
        destroy: bool = False,
        lock_timeout: str = LOCK_TIMEOUT,
    ) -> bool:
        """Write a plan; whether it would change anything."""
        options: dict[str, Any] = {"lock_timeout": lock_timeout} if lock else {"lock": False}
        if destroy:
            options["destroy"] = IsFlagged
        ended = self.cmd(
            "plan", input=False, no_color=IsFlagged, detailed_exitcode=IsFlagged, out=str(out),
            var_file=[str(file) for file in var_files], accepts=(0, WITH_CHANGES), **options,
        )  # fmt: skip
        return ended.code == WITH_CHANGES

    def show(self, plan: Path) -> str:
        """A plan as JSON."""
        return self.cmd("show", str(plan), json=IsFlagged).out

    def show_text(self, plan: Path) -> str:
        """A plan as Terraform tells it to people."""
        return self.cmd("show", str(plan), no_color=IsFlagged).out

    def apply(self, plan: Path, lock_timeout: str = LOCK_TIMEOUT) -> None:
        """Do what a saved plan says, and nothing else: so there is nothing to ask, and no variable to give."""
        self.cmd("apply", str(plan), input=False, no_color=IsFlagged, lock_timeout=lock_timeout, listen=True)

    def settle(self, var_files: Sequence[Path], lock_timeout: str = LOCK_TIMEOUT) -> None:
        """Write into the state what the cloud has filled in by itself since it was told to change, and nothing else."""
        self.cmd(
            "apply", refresh_only=IsFlagged, auto_approve=IsFlagged, input=False, no_color=IsFlagged,
            var_file=[str(file) for file in var_files], lock_timeout=lock_timeout, listen=True,
        )  # fmt: skip

    def outputs(self) -> dict[str, Any]:
        """All outputs with their values; whose are sensitive is said of each."""
        found: dict[str, Any] = json.loads(self.cmd("output", json=IsFlagged, no_color=IsFlagged).out)
        return found

    def stored_state(self) -> str:
        """The state as it is stored; empty if there is none yet."""
        return self.cmd("state pull").out

    def unlock(self, lock: str) -> None:
        """Take a lock away from whoever holds it."""
        self.cmd("force-unlock", lock, force=IsFlagged)


def _listened(out: IO[bytes], on_line: Callable[[str], object]) -> str:
    lines = []
    for line in out:
        lines.append(line.decode(errors="replace"))
        on_line(lines[-1].rstrip("\n"))
    return "".join(lines)


def supported_version(told: str, name: str, program: str) -> Version:
    """The version that a program tells; NoProgram if it tells none, or one that is too old."""
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", told)
    if not found:
        raise NoTerraform(f"{name}: {program} does not tell a version; is it Terraform?")
    version = tuple(int(part) for part in found.groups())
    if version < OLDEST:
        way_out = f"{version_text(OLDEST)} is the oldest that will do; install a newer one"
        raise NoTerraform(f"{name}: {program} is version {version_text(version)}, and {way_out}")
    return version


def here() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ
