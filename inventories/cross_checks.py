"""What must fit together in an environment, across its keys and with the files around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inventories.environment import Environment
from inventories.reading import KeyPath, as_written, suggestion

Fault = tuple[KeyPath, str]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an environment file is among. None: there is no such folder, so nothing is asked of it."""

    name: str
    hosts: str = ""
    hosts_there: bool = True
    stack_folders: tuple[str, ...] | None = None
    databases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By environment; a server's are `main.` with nothing behind, for they are known only to the server."""


def cross_check(environment: Environment, sections: Sequence[str], around: Surroundings) -> Iterator[Fault]:
    """Everything that does not fit. The environment may be one that could be read only in part."""
    yield from _name(environment, around)
    yield from _store(environment, sections)
    yield from _same_names(environment)
    yield from _refreshes(environment, around)
    yield from _stacks(environment, around)
    yield from _state(environment, sections)
    yield from _thresholds(environment)


def missing_hosts_file(around: Surroundings) -> Iterator[Fault]:
    """The file of hosts beside the environment file, which pyinfra wants."""
    if not around.hosts_there:
        yield (), f"there is no {around.hosts} beside it, with its hosts; add one, if only with: dev_servers = []"


def _name(environment: Environment, around: Surroundings) -> Iterator[Fault]:
    heading = environment.environment
    if heading and heading.name and heading.name != around.name:
        fact = f'"{heading.name}" is not what its file is called'
        yield ("environment", "name"), f'{fact}; use name = "{around.name}", or rename the file'


_IN_NEED_OF_A_STORE = ("databases", "servers", "refresh", "stacks", "drift", "cost", "status")


def _store(environment: Environment, sections: Sequence[str]) -> Iterator[Fault]:
    needing = [section for section in _IN_NEED_OF_A_STORE if getattr(environment, section)]
    if "store" not in sections and needing:
        way_out = 'add [store] with url = "s3://bucket/prefix" or "file:///folder"'
        yield ("store",), f"is missing, and [{needing[0]}] keeps its backups or records there; {way_out}"


def _same_names(environment: Environment) -> Iterator[Fault]:
    for name in sorted(environment.databases.keys() & environment.servers.keys()):
        yield ("databases", name), f"[servers.{name}] has the same name; rename one of them"


def _refreshes(environment: Environment, around: Surroundings) -> Iterator[Fault]:
    for name, refresh in environment.refresh.items():
        if refresh.source:
            for text in _origin(refresh.source_environment, refresh.source_database, around):
                yield ("refresh", name, "from"), text
        if refresh.sanitise and not refresh.sanitise.is_file():
            path = _beside(refresh.sanitise, environment.folder)
            yield ("refresh", name, "sanitise"), f"there is no file {path}; put the SQL that sanitises there"


def _beside(path: Path, folder: Path) -> str:
    return f"{path.relative_to(folder)} beside this one" if path.is_relative_to(folder) else str(path)


def _origin(environment: str, database: str, around: Surroundings) -> Iterator[str]:
    if environment not in around.databases:
        yield f"there is no environment {as_written(environment)}; {suggestion(environment, around.databases)}"
        return
    known = around.databases[environment]
    if not any(database == one or (one.endswith(".") and database.startswith(one)) for one in known):
        names = [f"{one}<database>" if one.endswith(".") else one for one in known]
        hint = suggestion(database, names) if names else "it has none at all"
        yield f"{environment} has no database {as_written(database)}; {hint}"


def _stacks(environment: Environment, around: Surroundings) -> Iterator[Fault]:
    stacks = environment.stacks
    for name, stack in stacks.items():
        for other in stack.after:
            if other not in stacks:
                others = [one for one in stacks if one != name]
                hint = suggestion(other, others) if others else "there is no other at all"
                yield ("stacks", name, "after"), f"there is no stack {as_written(other)} in this file; {hint}"
        folders = around.stack_folders
        if folders is not None and name not in folders:
            yield ("stacks", name), f"there is no folder terraform/stacks/{name}; {_nearest(name, folders)}"
    yield from _circle(environment)


def _nearest(name: str, folders: tuple[str, ...]) -> str:
    return suggestion(name, folders) if folders else "add it with the stack's .tf files, or leave the stack out"


def _circle(environment: Environment) -> Iterator[Fault]:
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter({name: stack.after for name, stack in environment.stacks.items()}).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        way_out = "leave out one after of these"
        yield ("stacks", circle[0], "after"), f"each waits for the next in a circle ({', '.join(circle)}); {way_out}"


def _state(environment: Environment, sections: Sequence[str]) -> Iterator[Fault]:
    state = environment.terraform.state if environment.terraform else None
    if "stacks" in sections and environment.stacks and environment.terraform and not state:
        way_out = 'add state = { bucket = "…", region = "…", lock_table = "…" } to [terraform]'
        yield ("terraform", "state"), f"is missing, and the stacks need a place for their state; {way_out}"
    if state and state.lock and state.lock_table:
        yield ("terraform", "state"), "lock and lock_table are both there; keep one of them"
    if state and not state.lock and not state.lock_table:
        yield ("terraform", "state"), 'nothing locks it; add lock_table = "a DynamoDB table", or lock = "file"'


def _thresholds(environment: Environment) -> Iterator[Fault]:
    thresholds = environment.cost.thresholds if environment.cost else ()
    if thresholds != tuple(sorted(set(thresholds))):
        yield ("cost", "thresholds"), f"{list(thresholds)} goes up and down; write each once, from low to high"
