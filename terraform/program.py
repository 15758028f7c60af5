"""Run Terraform through python-terraform, without the parts of python-terraform that do not work."""

from __future__ import annotations

import json
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
_DROPPED = ("TF_CLI_ARGS", "TF_WORKSPACE", "TF_LOG", "TF_DATA_DIR", "TF_INPUT", "TF_REATTACH_PROVIDERS")


class StartProgram(Protocol):
    """Start a program for a with block, and end it when crew has to stop. The caller passes this in."""

    def __call__(self, argv: Sequence[str], **popen: Any) -> AbstractContextManager[subprocess.Popen[bytes]]: ...


@contextmanager
def start_directly(argv: Sequence[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program as a plain child process, for scripts."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, **popen) as running:
        yield running


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def _ignore_line(_line: str) -> None:
    pass


def process_environment(data_folder: Path, cache: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for Terraform, without the user's settings that change what a command does."""
    kept = {name: value for name, value in inherited.items() if not name.startswith(_DROPPED)}
    settings = {"TF_DATA_DIR": str(data_folder), "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    return {"TF_PLUGIN_CACHE_DIR": str(cache / "plugins"), **kept, **settings}


class TerraformProgram(PythonTerraform):  # type: ignore[misc]  # it has no types
    """Terraform for one stack: a fixed set of commands, each with explicit options and no defaults of the library."""

    def __init__(
        self,
        name: str,
        path: str,
        folder: Path,
        environment: Mapping[str, str],
        start: StartProgram,
        *,
        on_line: Callable[[str], object] = _ignore_line,
    ) -> None:
        super().__init__(working_dir=str(folder), terraform_bin_path=path)
        self._name = name
        self._environment = environment
        self._start = start
        self._on_line = on_line

    def __getattr__(self, name: str) -> NoReturn:
        """Raise for unknown names, which the base class would run as commands."""
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def in_folder(self, folder: Path, data_folder: Path) -> TerraformProgram:
        """Return the same program for another directory of code with another data directory."""
        environment = {**self._environment, "TF_DATA_DIR": str(data_folder)}
        return TerraformProgram(
            self._name, self.terraform_bin_path, folder, environment, self._start, on_line=self._on_line
        )

    def read_state_file(self, file_path: str | None = None) -> None:
        """Do nothing: the base class would read local state files here, and this wrapper only uses commands."""

    def cmd(
        self, cmd: str, *args: str, accepts: Sequence[int] = (0,), listen: bool = False, **options: Any
    ) -> CommandResult:
        """Run a command; raise a StackError with the remedy if its exit code is not accepted.

        Output lines reach `on_line` only with `listen`: the output of plans, outputs and states contains secrets.
        """
        argv: list[str] = self.generate_cmd_string(cmd, *args, **options)
        command_start = CommandStart(socket.gethostname(), datetime.now(UTC))
        out, err = list[bytes](), list[bytes]()

        def keep(line: bytes) -> None:
            out.append(line)
            if listen:
                self._on_line(_text(line).rstrip("\n"))

        result = CommandResult(self._run(argv, keep, err.append), _text(*out), _text(*err))
        if result.code not in accepts:
            command = f"{Path(argv[0]).name} {cmd}"
            raise diagnose(self._name, command, result.err or result.out, result.code, command_start)
        return result

    def _missing(self) -> StackError:
        if not Path(self.working_dir).is_dir():
            return StackError(
                f"{self._name}: directory {self.working_dir} does not exist; create it with the stack's .tf files"
            )
        remedy = "install it, or set another program in [terraform]"
        return NoTerraform(f"{self._name}: {self.terraform_bin_path} is not installed on this machine; {remedy}")

    def pass_through(
        self, args: Sequence[str], on_out: Callable[[bytes], object], on_err: Callable[[bytes], object]
    ) -> int:
        """Run any command, pass each line of its output on, and return its exit code."""
        return self._run([self.terraform_bin_path, *args], on_out, on_err)

    def _run(self, argv: Sequence[str], on_out: Callable[[bytes], object], on_err: Callable[[bytes], object]) -> int:
        """Run a program and return its exit code; raise a StackError if it cannot be started."""
        popen = {
            "cwd": self.working_dir,
            "env": self._environment,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        try:
            with self._start(argv, **popen) as running:
                assert running.stdout is not None
                assert running.stderr is not None
                reader = threading.Thread(target=_read_lines, args=(running.stderr, on_err), daemon=True)
                reader.start()
                _read_lines(running.stdout, on_out)
                reader.join()
                return running.wait()
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            raise self._missing() from None

    def version(self) -> Version:
        """Return the version; raise NoTerraform if it is too old."""
        return supported_version(self.cmd("version").out, self._name, self.terraform_bin_path)

    def init(self, backend: Path) -> None:
        """Run `init` with the settings of the backend."""
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
        """Write a plan to a file; return whether it has changes."""
        options: dict[str, Any] = {"lock_timeout": lock_timeout} if lock else {"lock": False}
        if destroy:
            options["destroy"] = IsFlagged
        result = self.cmd(
            "plan", input=False, no_color=IsFlagged, detailed_exitcode=IsFlagged, out=str(out),
            var_file=[str(file) for file in var_files], accepts=(0, WITH_CHANGES), **options,
        )  # fmt: skip
        return result.code == WITH_CHANGES

    def show(self, plan: Path) -> str:
        """Return a saved plan as JSON."""
        return self.cmd("show", str(plan), json=IsFlagged).out

    def show_text(self, plan: Path) -> str:
        """Return a saved plan as the text that Terraform prints."""
        return self.cmd("show", str(plan), no_color=IsFlagged).out

    def apply(self, plan: Path, lock_timeout: str = LOCK_TIMEOUT) -> None:
        """Apply a saved plan: Terraform asks no question and accepts no variables."""
        self.cmd("apply", str(plan), input=False, no_color=IsFlagged, lock_timeout=lock_timeout, listen=True)

    def refresh_state(self, var_files: Sequence[Path], lock_timeout: str = LOCK_TIMEOUT) -> None:
        """Write the current values of all resources into the state (`apply -refresh-only`); change no resource."""
        self.cmd(
            "apply", refresh_only=IsFlagged, auto_approve=IsFlagged, input=False, no_color=IsFlagged,
            var_file=[str(file) for file in var_files], lock_timeout=lock_timeout, listen=True,
        )  # fmt: skip

    def outputs(self) -> dict[str, Any]:
        """Return all outputs: value, type and whether they are sensitive."""
        outputs: dict[str, Any] = json.loads(self.cmd("output", json=IsFlagged, no_color=IsFlagged).out)
        return outputs

    def stored_state(self) -> str:
        """Return the stored state; empty if there is none yet."""
        return self.cmd("state pull").out

    def push_state(self, file: Path, lock_timeout: str = LOCK_TIMEOUT) -> None:
        """Replace the stored state by a file; Terraform locks the state and refuses if it has a newer one."""
        self.cmd("state push", str(file), no_color=IsFlagged, lock_timeout=lock_timeout)

    def unlock(self, lock: str) -> None:
        """Remove a lock, whatever process holds it."""
        self.cmd("force-unlock", lock, force=IsFlagged)


def _read_lines(stream: IO[bytes], on_line: Callable[[bytes], object]) -> None:
    for line in stream:
        on_line(line)


def _text(*lines: bytes) -> str:
    return b"".join(lines).decode(errors="replace")


def supported_version(output: str, name: str, program: str) -> Version:
    """Return the version that `terraform version` printed; raise NoTerraform if there is none or it is too old."""
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", output)
    if not match:
        raise NoTerraform(f"{name}: {program} prints no version; check that it is Terraform or OpenTofu")
    version = tuple(int(part) for part in match.groups())
    if version < OLDEST:
        needed = f"{version_text(OLDEST)} or newer is needed; install a newer version"
        raise NoTerraform(f"{name}: {program} is version {version_text(version)}, but {needed}")
    return version
