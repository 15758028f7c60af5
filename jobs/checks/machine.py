"""Are the programs here that this environment's jobs call?"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from inventories import Environment
from jobs.checks.check import Check, Finding, fault, ok, warn


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is called, how it tells its version, and what for."""

    name: str
    asks: tuple[str, ...]
    needed_for: str
    must: bool = True


def checks(environment: Environment) -> Iterator[Check]:
    """One for each program that the file needs."""
    for program in needed(environment):
        yield Check(f"program {program.name}", partial(found, program))
    if environment.databases or environment.servers:
        yield Check("program psql", clients)


def needed(environment: Environment) -> list[Program]:
    """The programs that the file's sections call for."""
    targets = [*environment.servers.values(), *environment.databases.values()]
    ways = [target.via for target in targets if target.via]
    programs = []
    if any(way.ssh for way in ways):
        programs.append(Program("ssh", ("-V",), "tunnels (via = { ssh })"))
    if any(way.kubernetes for way in ways):
        programs.append(Program("kubectl", ("version", "--client"), "tunnels (via = { kubernetes })"))
    if targets:
        by_hand = "restoring without groundcrew; crew itself needs no such program"
        programs += [Program("zstd", ("--version",), by_hand, must=False)]
        programs += [Program("age", ("--version",), by_hand, must=False)]
    return programs


def found(program: Program) -> Finding:
    """Its version, or what it is wanted for."""
    path = shutil.which(program.name)
    if path is None:
        verdict = fault if program.must else warn
        return verdict(f"is not on this machine, needed for {program.needed_for}", f"install {program.name}")
    said = subprocess.run([path, *program.asks], capture_output=True, text=True, check=False, timeout=20)
    return ok(version_in(said.stdout + said.stderr) or path)


def version_in(said: str) -> str | None:
    """The first thing in a program's answer that looks like a version."""
    seen = re.search(r"\d+\.\d+(?:\.\d+)?(?:p\d+)?", said)
    return seen.group() if seen else None


def clients() -> Finding:
    """PostgreSQL's client programs by version: each server wants one that is not older."""
    from jobs.backup.postgres.programs import installed

    versions: Sequence[str] = sorted(
        {program.version for program in installed("psql")}, key=lambda v: int(v.split(".")[0])
    )
    if not versions:
        return fault("there is none on this machine", "install postgresql-client")
    return ok(", ".join(versions))
