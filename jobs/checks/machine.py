"""Check that the programs which this environment's jobs call are installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from inventories import Environment
from jobs.checks.check import Check, CheckResult, fault, ok, warn


@dataclass(frozen=True, slots=True)
class RequiredProgram:
    """A program that jobs call, the arguments that print its version, and its purpose."""

    name: str
    version_arguments: tuple[str, ...]
    purpose: str
    required: bool = True


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check for each program that the environment file needs."""
    for program in required_programs(environment):
        yield Check(f"program {program.name}", partial(check_program, program))
    if environment.databases or environment.servers:
        yield Check("program psql", check_psql)
        if not environment.verify.scratch:
            yield Check("isolation", check_isolation)


def required_programs(environment: Environment) -> list[RequiredProgram]:
    """Return the programs that the sections of the file need."""
    targets = [*environment.servers.values(), *environment.databases.values()]
    tunnels = [target.via for target in targets if target.via]
    programs = []
    if any(tunnel.ssh for tunnel in tunnels):
        programs.append(RequiredProgram("ssh", ("-V",), "tunnels (via = { ssh })"))
    if any(tunnel.kubernetes for tunnel in tunnels):
        programs.append(RequiredProgram("kubectl", ("version", "--client"), "tunnels (via = { kubernetes })"))
    if targets:
        by_hand = "restoring without groundcrew; crew itself does not call it"
        programs += [RequiredProgram("zstd", ("--version",), by_hand, required=False)]
        programs += [RequiredProgram("age", ("--version",), by_hand, required=False)]
    return programs


def check_program(program: RequiredProgram) -> CheckResult:
    """Check that a program is on the PATH, and report its version."""
    path = shutil.which(program.name)
    if path is None:
        verdict = fault if program.required else warn
        return verdict(f"not installed; needed for {program.purpose}", f"install {program.name}")
    result = subprocess.run([path, *program.version_arguments], capture_output=True, text=True, check=False, timeout=20)
    return ok(first_version(result.stdout + result.stderr) or path)


def first_version(output: str) -> str | None:
    """Return the first text in a program's output that looks like a version."""
    match = re.search(r"\d+\.\d+(?:\.\d+)?(?:p\d+)?", output)
    return match.group() if match else None


def check_psql() -> CheckResult:
    """Report the installed versions of psql: a server needs a client of its major version or newer."""
    from jobs.backup import installed_clients

    versions: Sequence[str] = sorted(
        {program.version for program in installed_clients("psql")}, key=lambda version: int(version.split(".")[0])
    )
    if not versions:
        return fault("not installed", "install postgresql-client")
    return ok(", ".join(versions))


def check_isolation() -> CheckResult:
    """Check that verifications can isolate the code in a backup set from this machine."""
    from jobs.backup import verification_fault

    reason = verification_fault()
    if reason is None:
        return ok("no PostgreSQL server programs here, so verifications need a scratch server in [verify]")
    if not reason:
        return ok("bubblewrap isolates verifications from this machine")
    if in_hardened_unit():
        return ok("unknown: this systemd unit cannot create namespaces; each verification reports if it was isolated")
    return warn(
        f"verifications are not isolated from this machine: {reason}",
        "install bubblewrap and allow user namespaces, or name a scratch server in [verify]; see docs/security.md",
    )


def in_hardened_unit() -> bool:
    """Whether systemd started this process with a system call filter, as it does in the exported check service."""
    status = Path("/proc/self/status")
    filtered = status.exists() and re.search(r"^Seccomp:\s*2$", status.read_text(), re.MULTILINE) is not None
    return "INVOCATION_ID" in os.environ and filtered
