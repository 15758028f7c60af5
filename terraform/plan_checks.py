"""Run the programs of [terraform] checks on a plan."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from inventories import PlanCheck
from terraform.errors import ChangeRefused, StackError
from terraform.masking import masked_plan
from terraform.paths import StackPaths
from terraform.program import StartProgram

LIMIT_SECONDS = 600.0
MAX_OUTPUT = 20_000
"""How many bytes of a check's output are shown at most: comments have a maximum length."""
_CUT = b"\n(the rest is cut)\n"


@dataclass(frozen=True, slots=True)
class PlanCheckResult:
    """What a check said about a plan."""

    command: str
    """The command line as the environment file has it."""
    code: int
    output: bytes

    @property
    def verdict(self) -> str:
        """Whether the plan passed, in a few words."""
        if self.code < 0:
            return f"killed by signal {-self.code}"
        return f"failed with exit code {self.code}" if self.code else "passed"


def run_plan_checks(
    paths: StackPaths, checks: Sequence[PlanCheck], plan: str, start: StartProgram
) -> list[PlanCheckResult]:
    """Run each check in the root of the repository and return the results.

    The plan is written to a new directory, which is deleted afterwards.
    """
    masked = masked_plan(plan) if any(not check.raw for check in checks) else ""
    results = []
    with tempfile.TemporaryDirectory(dir=paths.data_folder, prefix="checks-") as made:
        for check in checks:
            file = Path(made) / ("raw.json" if check.raw else "plan.json")
            file.touch(mode=0o600)
            file.write_text(plan if check.raw else masked)
            results.append(_run(paths, check, file, start))
    return results


def _run(paths: StackPaths, check: PlanCheck, file: Path, start: StartProgram) -> PlanCheckResult:
    argv = [word.replace("{plan}", str(file)) for word in check.command]
    environment = checking_environment(paths, os.environ)
    name, command = paths.name, " ".join(check.command)
    popen = {"cwd": paths.repository, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        with start(argv, **popen) as running, _limited(running) as ended:
            assert running.stdout is not None
            output = _beginning(running.stdout)
            code = running.wait()
    except OSError as error:
        fact = f"the check {command} cannot be started ({error.strerror})"
        raise StackError(f"{name}: {fact}; install {argv[0]}, or change [terraform] checks") from None
    if ended.is_set():
        raise StackError(
            f"{name}: the check {command} ran longer than {LIMIT_SECONDS:.0f} s and was killed; run it again"
        )
    return PlanCheckResult(command, code, output)


def checking_environment(paths: StackPaths, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a check: without Terraform's input variables, which can be secrets."""
    kept = {key: value for key, value in inherited.items() if not key.startswith("TF_VAR_")}
    return {**kept, "CREW_ENVIRONMENT": paths.environment, "CREW_STACK": paths.stack, "NO_COLOR": "1"}


@contextmanager
def _limited(running: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Kill a program that runs too long; yield an event that is set in that case."""
    ended = threading.Event()

    def end() -> None:
        ended.set()
        if os.getpgid(running.pid) == running.pid:  # its own children can hold its output open
            os.killpg(running.pid, signal.SIGKILL)
        running.kill()

    timer = threading.Timer(LIMIT_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield ended
    finally:
        timer.cancel()


def _beginning(stream: IO[bytes]) -> bytes:
    """Read a stream to its end and return its first part."""
    output, is_cut = b"", False
    while chunk := stream.read(65536):
        is_cut = is_cut or len(output) + len(chunk) > MAX_OUTPUT
        output = (output + chunk)[:MAX_OUTPUT]
    return output + _CUT if is_cut else output


def refuse_failed_checks(name: str, results: Sequence[PlanCheckResult]) -> None:
    """Raise ChangeRefused with every check that the plan did not pass."""
    failed = [f"{result.command} {result.verdict}" for result in results if result.code]
    if failed:
        remedy = "see its output, then change the code or the check"
        raise ChangeRefused(f"{name}: the plan is refused by [terraform] checks: {'; '.join(failed)}; {remedy}")
