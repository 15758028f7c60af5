"""Are the programs here that this environment's jobs call?"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from inventories import Environment
from jobs.checks.check import Check, CheckResult, fault, ok, warn


@dataclass(frozen=True, slots=True)
class RequiredProgram:
    """A program that is called, how it tells its version, and what for."""

    name: str
    asks: tuple[str, ...]
    needed_for: str
    must: bool = True


def checks(environment: Environment) -> Iterator[Check]:
    """One for each program that the file needs."""
    for program in required_programs(environment):
        yield Check(f"program {program.name}", partial(check_program, program))
    if environment.databases or environment.servers:
        yield Check("program psql", check_psql)


def required_programs(environment: Environment) -> list[RequiredProgram]:
    """The programs that the file's sections call for."""
    targets = [*environment.servers.values(), *environment.databases.values()]
    ways = [target.via for target in targets if target.via]
    programs = []
    if any(way.ssh for way in ways):
        programs.append(RequiredProgram("ssh", ("-V",), "tunnels (via = { ssh })"))
    if any(way.kubernetes for way in ways):
        programs.append(RequiredProgram("kubectl", ("version", "--client"), "tunnels (via = { kubernetes })"))
    if targets:
        by_hand = "restoring without groundcrew; crew itself needs no such program"
        programs += [RequiredProgram("zstd", ("--version",), by_hand, must=False)]
        programs += [RequiredProgram("age", ("--version",), by_hand, must=False)]
    return programs


def check_program(program: RequiredProgram) -> CheckResult:
    """Its version, or what it is wanted for."""
    path = shutil.which(program.name)
    if path is None:
        verdict = fault if program.must else warn
        return verdict(f"is not on this machine, needed for {program.needed_for}", f"install {program.name}")
    said = subprocess.run([path, *program.asks], capture_output=True, text=True, check=False, timeout=20)
    return ok(first_version(said.stdout + said.stderr) or path)


def first_version(said: str) -> str | None:
    """The first thing in a program's answer that looks like a version."""
    seen = re.search(r"\d+\.\d+(?:\.\d+)?(?:p\d+)?", said)
    return seen.group() if seen else None


def check_psql() -> CheckResult:
    """PostgreSQL's client programs by version: each server wants one that is not older."""
    from jobs.backup.postgres.programs import installed

    versions: Sequence[str] = sorted(
        {program.version for program in installed("psql")}, key=lambda v: int(v.split(".")[0])
    )
    if not versions:
        return fault("there is none on this machine", "install postgresql-client")
    return ok(", ".join(versions))
