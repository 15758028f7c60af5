"""What a host has, asked at once: operations announce what they will look at, and the first to look asks for all.

An answer holds for some seconds, as long as this run changes nothing on the host: then the next look asks again.
"""

from __future__ import annotations

import shlex
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, TypeAlias, cast

from paramiko import SSHException
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.operation import OperationMeta
from pyinfra.context import ctx_host, ctx_state

from deploys.lib.preflight import DeployError

LASTS = 10  # seconds
AT_ONCE = 400  # questions: a command line has its limits
MARK = "--groundcrew--"
STATE = ("UnitFileState", "ActiveState", "ActiveEnterTimestamp", "ConditionResult", "ConditionTimestampMonotonic")

P = ParamSpec("P")


class QuestionKind(StrEnum):
    """What a question is about."""

    PATH = "path"
    CONTENT = "content"
    UNIT = "unit"
    PRINTED = "printed"


Question: TypeAlias = tuple[QuestionKind, str]
Asked: TypeAlias = frozenset[Question]


def paths(*named: str) -> Asked:
    """What lies there."""
    return frozenset((QuestionKind.PATH, name) for name in named)


def contents(*named: str) -> Asked:
    """What lies there, and the checksum of it."""
    return frozenset((kind, name) for name in named for kind in (QuestionKind.PATH, QuestionKind.CONTENT))


def units(*named: str) -> Asked:
    """How units of systemd are; "" is systemd itself."""
    return frozenset((QuestionKind.UNIT, name) for name in named)


def printed(*commands: str) -> Asked:
    """What commands print that change nothing."""
    return frozenset((QuestionKind.PRINTED, command) for command in commands)


@dataclass(frozen=True)
class Thing:
    """What lies at a path, behind all links."""

    is_file: bool
    is_folder: bool
    mode: str  # as in "644"
    owner: str  # as in "root:root"
    written: int  # nanoseconds since 1970


@dataclass(frozen=True)
class Unit:
    starts: str  # as systemctl is-enabled tells it
    active: bool
    unfit: bool  # it was tried, and its own conditions say that it does not belong on this host
    started: int  # nanoseconds since 1970


@dataclass
class HostFacts:
    """The answers."""

    things: dict[str, Thing] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    printed: dict[str, list[str]] = field(default_factory=dict)

    def and_also(self, other: HostFacts) -> HostFacts:
        return HostFacts(
            {**self.things, **other.things},
            {**self.sums, **other.sums},
            {**self.units, **other.units},
            {**self.printed, **other.printed},
        )


def looking(
    asks: Callable[..., Asked],
) -> Callable[[Callable[Concatenate[HostFacts, P], Generator[Any]]], PyinfraOperation[P]]:
    """An operation that decides by what it sees; `asks` tells from its arguments, beforehand, what it will look at."""

    def made(decides: Callable[Concatenate[HostFacts, P], Generator[Any]]) -> PyinfraOperation[P]:
        @wraps(decides)
        def steps(*args: P.args, **more: P.kwargs) -> Generator[Any]:
            try:
                seen = host_facts(asks(*args, **more))
            except DeployError as fault:
                if not ctx_state.get().is_executing:
                    raise
                yield FunctionCommand(_fail, (str(fault),), {})
            else:
                yield from decides(seen, *args, **more)

        told = signature(decides)
        steps.__signature__ = told.replace(parameters=list(told.parameters.values())[1:])  # type: ignore[attr-defined]
        done = operation()(steps)

        @wraps(steps)
        def announced(*args: Any, **more: Any) -> OperationMeta:
            _memory(ctx_host.get()).announced |= asks(*args, **more)
            return done(*args, **more)

        return cast("PyinfraOperation[P]", announced)

    return made


def _fail(state: State, host: Host, said: str) -> bool:
    host.log(said)
    return False


def host_facts(asked: Asked) -> HostFacts:
    """What this host has: from memory if that still holds, else asked for with all that was announced."""
    here: Host = ctx_host.get()
    memory = _memory(here)
    memory.forget_what_may_have_changed(here)
    if asked - memory.known:
        for portion in portions((memory.announced | asked) - memory.known):
            memory.seen = memory.seen.and_also(_told(here, portion))
            memory.known |= frozenset(portion)
    return memory.seen


@dataclass
class _Memory:
    """What a host has told."""

    announced: Asked = frozenset()
    known: Asked = frozenset()
    seen: HostFacts = field(default_factory=HostFacts)
    since: float = 0
    operation: str | None = None  # that looked last
    moment: tuple[bool, int] = (False, 0)

    def forget_what_may_have_changed(self, here: Host) -> None:
        # Of nested operations, and of one that looks twice, we don't know what was done in between.
        unsure = here.nested_executing_op_hash is not None or self.operation == here.current_op_hash
        if unsure or self.moment != _moment(here) or time.monotonic() > self.since + LASTS:
            self.known, self.seen, self.since = frozenset(), HostFacts(), time.monotonic()
        self.operation, self.moment = here.current_op_hash, _moment(here)


def _memory(here: Host) -> _Memory:
    memory: _Memory = here.connector_data.setdefault("groundcrew_look", _Memory())
    return memory


def _moment(here: Host) -> tuple[bool, int]:
    """Whether the run is at its work yet, and how many operations have changed this host."""
    return here.state.is_executing, sum(each.operation_meta.executed for each in here.state.ops[here].values())


def _told(here: Host, questions: Sequence[Question]) -> HostFacts:
    asked = StringCommand(command(questions))
    try:
        told, output = here.run_shell_command(asked, print_input=here.state.print_fact_input, **as_root(here))
    except (OSError, SSHException) as error:
        raise DeployError(f"{here.name} can't be reached: {error}") from error
    if not told:
        raise DeployError(f"{here.name} can't be looked at: {output.stderr}")
    return answers(questions, output.stdout_lines)


def as_root(here: Host) -> dict[str, Any]:
    """How to run a command beside the operations: as they are run, by --sudo or by `_sudo` of the inventory."""
    return {"_sudo": True} if here.state.config.SUDO or here.data.get("_sudo") else {}


def portions(asked: Asked) -> Iterator[Sequence[Question]]:
    questions = sorted(asked)
    yield from (questions[at : at + AT_ONCE] for at in range(0, len(questions), AT_ONCE))


def command(questions: Sequence[Question]) -> str:
    """One command for all; it prints a mark before each answer but the first."""
    names = {kind: [name for of, name in questions if of is kind] for kind in QuestionKind}
    there = [name for name in names[QuestionKind.UNIT] if name]
    show = f"systemctl show --timestamp=unix --property={','.join(STATE)} -- {shlex.join(there)}"
    asked = [
        f"stat --dereference --format='%f %U:%G %.9Y %n' -- {shlex.join(names[QuestionKind.PATH])}"
        * bool(names[QuestionKind.PATH]),
        f"sha256sum -- {shlex.join(names[QuestionKind.CONTENT])}" * bool(names[QuestionKind.CONTENT]),
        show * bool(there),
        "systemctl show --timestamp=unix --property=UserspaceTimestamp" * ("" in names[QuestionKind.UNIT]),
        *names[QuestionKind.PRINTED],
    ]
    parts = f"; echo; echo {MARK}; ".join(f"({each})" if each else ":" for each in asked)
    return f"exec 2>/dev/null </dev/null; {parts}; true"


def answers(questions: Sequence[Question], lines: Iterable[str]) -> HostFacts:
    """What `command` printed."""
    parts = "\n".join([*lines, ""]).split(f"\n{MARK}\n")
    things, sums, states, itself, *rest = (part.removesuffix("\n").split("\n") if part else [] for part in parts)
    names = [name for kind, name in questions if kind is QuestionKind.UNIT and name]
    blocks = "\n".join(states).split("\n\n")
    if len(blocks) != len(names):  # no systemd to ask: the commands for units will fail, and say so
        blocks = [""] * len(names)
    return HostFacts(
        dict(map(_thing, things)),
        {path: digest for digest, _, path in (line.partition("  ") for line in sums)},
        dict(zip(names, map(_unit, blocks), strict=True)) | {"": _unit("\n".join(itself))},
        dict(zip((name for kind, name in questions if kind is QuestionKind.PRINTED), rest, strict=True)),
    )


def _thing(line: str) -> tuple[str, Thing]:
    mode, owner, written, path = line.split(" ", 3)
    bits = int(mode, 16)
    return path, Thing(
        is_file=stat.S_ISREG(bits),
        is_folder=stat.S_ISDIR(bits),
        mode=f"{stat.S_IMODE(bits):o}",
        owner=owner,
        written=int(written.replace(".", "")),
    )


def _unit(block: str) -> Unit:
    told = dict(line.split("=", 1) for line in block.splitlines())
    started = told.get("ActiveEnterTimestamp") or told.get("UserspaceTimestamp") or ""
    return Unit(
        starts=told.get("UnitFileState", ""),
        active=told.get("ActiveState") in {"active", "reloading", "refreshing"},
        unfit=told.get("ConditionResult") == "no" and told.get("ConditionTimestampMonotonic") != "0",
        started=int(started.removeprefix("@") or 0) * 10**9 if started[:1] == "@" else 0,
    )
