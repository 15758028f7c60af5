"""Facts about a host, read by one command.

Each operation declares the facts that it needs. The first operation that runs reads the facts of all of them.
Facts expire after some seconds, and as soon as an operation of this run changes the host.
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
from pyinfra.api import FunctionCommand, Host, StringCommand, operation
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.operation import OperationMeta
from pyinfra.context import ctx_host, ctx_state

from deploys.lib.messages import report_failure
from deploys.lib.preflight import DeployError

FACTS_EXPIRE_AFTER = 10  # seconds
QUESTIONS_PER_COMMAND = 400  # the length of a command line is limited
SEPARATOR = "--groundcrew--"
UNIT_PROPERTIES = (
    "UnitFileState",
    "ActiveState",
    "ActiveEnterTimestamp",
    "ConditionResult",
    "ConditionTimestampMonotonic",
)

P = ParamSpec("P")


class QuestionKind(StrEnum):
    """What a question is about."""

    PATH = "path"
    CONTENT = "content"
    UNIT = "unit"
    OUTPUT = "output"


Question: TypeAlias = tuple[QuestionKind, str]
Questions: TypeAlias = frozenset[Question]


def paths(*names: str) -> Questions:
    """Ask for type, mode, owner and modification time of these paths."""
    return frozenset((QuestionKind.PATH, name) for name in names)


def file_contents(*names: str) -> Questions:
    """Ask the same as `paths`, and for the checksum of each file."""
    return frozenset((kind, name) for name in names for kind in (QuestionKind.PATH, QuestionKind.CONTENT))


def unit_states(*names: str) -> Questions:
    """Ask for the state of these systemd units; "" is systemd itself."""
    return frozenset((QuestionKind.UNIT, name) for name in names)


def command_output(*commands: str) -> Questions:
    """Ask for the output of these commands, which must change nothing."""
    return frozenset((QuestionKind.OUTPUT, command) for command in commands)


@dataclass(frozen=True)
class PathFacts:
    """A file or directory; symbolic links are followed."""

    is_file: bool
    is_folder: bool
    mode: str  # such as "644"
    owner: str  # such as "root:root"
    modified: int  # nanoseconds since 1970


@dataclass(frozen=True)
class UnitFacts:
    """The state of a systemd unit."""

    file_state: str  # as printed by systemctl is-enabled
    active: bool
    condition_failed: bool  # systemd skipped the unit: its Condition… settings exclude this host
    started: int  # nanoseconds since 1970


@dataclass
class HostFacts:
    """The answers of a host, each by path, unit or command."""

    paths: dict[str, PathFacts] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    units: dict[str, UnitFacts] = field(default_factory=dict)
    output: dict[str, list[str]] = field(default_factory=dict)

    def merged_with(self, other: HostFacts) -> HostFacts:
        return HostFacts(
            {**self.paths, **other.paths},
            {**self.checksums, **other.checksums},
            {**self.units, **other.units},
            {**self.output, **other.output},
        )


def operation_with_facts(
    questions_of: Callable[..., Questions],
) -> Callable[[Callable[Concatenate[HostFacts, P], Generator[Any]]], PyinfraOperation[P]]:
    """Make a pyinfra operation whose first parameter is the host's facts.

    `questions_of` gets the operation's arguments and returns the facts that it needs.

        @operation_with_facts(lambda path, **_: paths(path))
        def ensure_folder(facts: HostFacts, path: str) -> Steps: ...
    """

    def decorate(decide: Callable[Concatenate[HostFacts, P], Generator[Any]]) -> PyinfraOperation[P]:
        @wraps(decide)
        def steps(*args: P.args, **kwargs: P.kwargs) -> Generator[Any]:
            try:
                facts = host_facts(questions_of(*args, **kwargs))
            except DeployError as error:
                if not ctx_state.get().is_executing:
                    raise
                yield FunctionCommand(report_failure, (str(error),), {})
            else:
                yield from decide(facts, *args, **kwargs)

        full = signature(decide)
        steps.__signature__ = full.replace(parameters=list(full.parameters.values())[1:])  # type: ignore[attr-defined]
        pyinfra_operation = operation()(steps)

        @wraps(steps)
        def declare_and_add(*args: Any, **kwargs: Any) -> OperationMeta:
            _cache(ctx_host.get()).declared |= questions_of(*args, **kwargs)
            return pyinfra_operation(*args, **kwargs)

        return cast("PyinfraOperation[P]", declare_and_add)

    return decorate


def known_facts(host: Host) -> tuple[Questions, HostFacts]:
    """Return the questions that a host has answered lately, and its facts, without a command."""
    return _cache(host).known, _cache(host).facts


def host_facts(questions: Questions) -> HostFacts:
    """Return the facts of this host: cached ones if still valid, else read together with all that were declared."""
    host: Host = ctx_host.get()
    cache = _cache(host)
    cache.expire(host)
    if questions - cache.known:
        for batch in question_batches((cache.declared | questions) - cache.known):
            cache.facts = cache.facts.merged_with(_read(host, batch))
            cache.known |= frozenset(batch)
    return cache.facts


@dataclass
class _FactCache:
    """The facts of one host, and when they were read."""

    declared: Questions = frozenset()
    known: Questions = frozenset()
    facts: HostFacts = field(default_factory=HostFacts)
    since: float = 0
    operation: str | None = None  # the hash of the last operation that read facts
    progress: tuple[bool, int] = (False, 0)

    def expire(self, host: Host) -> None:
        # A nested operation, or one that reads facts twice, can have changed the host in between.
        unsure = host.nested_executing_op_hash is not None or self.operation == host.current_op_hash
        if unsure or self.progress != _progress(host) or time.monotonic() > self.since + FACTS_EXPIRE_AFTER:
            self.known, self.facts, self.since = frozenset(), HostFacts(), time.monotonic()
        self.operation, self.progress = host.current_op_hash, _progress(host)


def _cache(host: Host) -> _FactCache:
    cache: _FactCache = host.connector_data.setdefault("groundcrew_facts", _FactCache())
    return cache


def _progress(host: Host) -> tuple[bool, int]:
    """Return whether the run executes operations yet, and how many of them have changed this host."""
    return host.state.is_executing, sum(each.operation_meta.executed for each in host.state.ops[host].values())


def _read(host: Host, questions: Sequence[Question]) -> HostFacts:
    command = StringCommand(facts_command(questions))
    try:
        ok, output = host.run_shell_command(command, print_input=host.state.print_fact_input, **sudo_arguments(host))
    except (OSError, SSHException) as error:
        raise DeployError(f"{host.name} can't be reached: {error}") from error
    if not ok:
        raise DeployError(
            f"{host.name}: reading facts failed: {output.stderr}; check that the login is root, or add --sudo"
        )
    return parse_facts(questions, output.stdout_lines)


def sudo_arguments(host: Host) -> dict[str, Any]:
    """Return pyinfra's arguments that run a command as operations run: with sudo if --sudo or `_sudo` is set."""
    return {"_sudo": True} if host.state.config.SUDO or host.data.get("_sudo") else {}


def question_batches(questions: Questions) -> Iterator[Sequence[Question]]:
    """Yield the questions in order, in batches that fit into one command line."""
    ordered = sorted(questions)
    yield from (
        ordered[start : start + QUESTIONS_PER_COMMAND] for start in range(0, len(ordered), QUESTIONS_PER_COMMAND)
    )


def facts_command(questions: Sequence[Question]) -> str:
    """Return one command that answers all questions; it prints a separator line before each answer but the first."""
    names = {kind: [name for of, name in questions if of is kind] for kind in QuestionKind}
    units = [name for name in names[QuestionKind.UNIT] if name]
    show_units = f"systemctl show --timestamp=unix --property={','.join(UNIT_PROPERTIES)} -- {shlex.join(units)}"
    commands = [
        f"stat --dereference --format='%f %U:%G %.9Y %n' -- {shlex.join(names[QuestionKind.PATH])}"
        * bool(names[QuestionKind.PATH]),
        f"sha256sum -- {shlex.join(names[QuestionKind.CONTENT])}" * bool(names[QuestionKind.CONTENT]),
        show_units * bool(units),
        "systemctl show --timestamp=unix --property=UserspaceTimestamp" * ("" in names[QuestionKind.UNIT]),
        *names[QuestionKind.OUTPUT],
    ]
    joined = f"; echo; echo {SEPARATOR}; ".join(f"({command})" if command else ":" for command in commands)
    return f"exec 2>/dev/null </dev/null; {joined}; true"


def parse_facts(questions: Sequence[Question], lines: Iterable[str]) -> HostFacts:
    """Return the facts from the output of `facts_command`."""
    parts = "\n".join([*lines, ""]).split(f"\n{SEPARATOR}\n")
    stats, sums, states, systemd, *outputs = (part.removesuffix("\n").split("\n") if part else [] for part in parts)
    names = [name for kind, name in questions if kind is QuestionKind.UNIT and name]
    blocks = "\n".join(states).split("\n\n")
    if len(blocks) != len(names):  # systemd does not answer: the systemctl commands of the operations fail and say why
        blocks = [""] * len(names)
    return HostFacts(
        dict(map(_path_facts, stats)),
        {path: digest for digest, _, path in (line.partition("  ") for line in sums)},
        dict(zip(names, map(_unit_facts, blocks), strict=True)) | {"": _unit_facts("\n".join(systemd))},
        dict(zip((name for kind, name in questions if kind is QuestionKind.OUTPUT), outputs, strict=True)),
    )


def _path_facts(line: str) -> tuple[str, PathFacts]:
    mode, owner, modified, path = line.split(" ", 3)
    bits = int(mode, 16)
    return path, PathFacts(
        is_file=stat.S_ISREG(bits),
        is_folder=stat.S_ISDIR(bits),
        mode=f"{stat.S_IMODE(bits):o}",
        owner=owner,
        modified=int(modified.replace(".", "")),
    )


def _unit_facts(block: str) -> UnitFacts:
    properties = dict(line.split("=", 1) for line in block.splitlines())
    started = properties.get("ActiveEnterTimestamp") or properties.get("UserspaceTimestamp") or ""
    return UnitFacts(
        file_state=properties.get("UnitFileState", ""),
        active=properties.get("ActiveState") in {"active", "reloading", "refreshing"},
        condition_failed=(
            properties.get("ConditionResult") == "no" and properties.get("ConditionTimestampMonotonic") != "0"
        ),
        started=int(started.removeprefix("@") or 0) * 10**9 if started[:1] == "@" else 0,
    )
