"""Checks that stop a deploy before it changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra import host, inventory
from pyinfra.api import FactBase, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_state

from inventories import CrewError
from inventories.printable import printable_lines

SYSTEMS = {("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")}


class DeployError(PyinfraError, CrewError):
    """A deploy can't continue; the message names the host or group, the fact and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(printable_lines(message))  # pyinfra prints it as it is, and facts are text from outside


@dataclass(frozen=True)
class System:
    """The operating system and the size of a host."""

    name: str
    version: str
    codename: str
    user: int  # the uid of the login
    memory: int  # MiB
    disk: int  # MiB free on the disk of /var
    cpus: int
    container: bool


class SystemFact(FactBase[System]):
    """The `System` of a host, read by one command."""

    def command(self) -> str:
        return (
            ". /etc/os-release; echo $ID; echo $VERSION_ID; echo $VERSION_CODENAME; id -u; "
            "awk '/^MemTotal/ {print $2}' /proc/meminfo; df --output=avail -B1M /var | tail -1; nproc; "
            "systemd-detect-virt --quiet --container && echo yes || echo no"
        )

    def process(self, output: list[str]) -> System:
        name, version, codename, user, memory, disk, cpus, container = (line.strip() for line in output)
        return System(name, version, codename, int(user), int(memory) // 1024, int(disk), int(cpus), container == "yes")


def require_hosts() -> None:
    """Make a run without hosts, or with example hosts, fail; pyinfra would run nothing and report success."""
    state: State = ctx_state.get()
    set_stage = state.set_stage

    def checked(stage: StateStage) -> None:
        if stage is StateStage.Connect:
            hosts = [each for each in state.inventory if state.is_host_in_limit(each)]
            if not hosts:
                raise DeployError("there are no hosts: the inventory is empty, or --limit matches no host; check both")
            names = {str(each.data.get("ssh_hostname") or each.name): tuple(each.groups) for each in hosts}
            stop_on_faults(example_faults(names))
        set_stage(stage)

    state.set_stage = checked  # type: ignore[method-assign]


def example_faults(names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a fault if hosts still have the names that the repository ships; `names` has the groups of each host.

    The shipped inventories read the hosts of a group from a variable, such as STAGING_K3S_SERVERS or DEV_SERVERS.
    """
    examples = {name: groups for name, groups in names.items() if name.endswith(".example")}
    if examples:
        environment = next(iter(examples.values()))[-1]  # the last group has the name of the inventory's file
        served = {group for groups in examples.values() for group in groups[:-1]}
        variables = (f"{environment}_{group.removeprefix(f'{environment}_')}".upper() for group in served)
        yield (
            f"{', '.join(examples)}: these hosts are examples; write your own into inventories/{environment}, or set "
            f"{' and '.join(sorted(variables))}"
        )


def hosts_of_group(name: str) -> list[str]:
    """Return the names of the hosts in a group, in the order of the inventory; raise DeployError if there are none."""
    if name not in inventory.groups or not inventory.groups[name]:
        raise DeployError(f"the inventory has no hosts in the group {name}, which this deploy needs; add them there")
    return [each.name for each in inventory.groups[name]]


def require_in_limit(names: Iterable[str], why: str) -> None:
    """Raise DeployError if --limit excludes one of these hosts."""
    given = list(names)
    included = hosts_in_limit(given)
    if excluded := [name for name in given if name not in included]:
        raise DeployError(f"--limit excludes {', '.join(excluded)}; {why}; run it without --limit")


def hosts_in_limit(names: Iterable[str]) -> list[str]:
    """Return those of the hosts that --limit does not exclude."""
    state: State = ctx_state.get()
    return [name for name in names if state.is_host_in_limit(state.inventory.get_host(name))]


def check_system(*, memory: int = 0, disk: int = 0) -> System:
    """Return this host's system; raise DeployError unless it is supported, has these MiB and the login is root."""
    system: System = host.get_fact(SystemFact)
    if faults := system_faults(system, memory=memory, disk=disk):
        raise DeployError(f"{host.name}: {'; '.join(faults)}")
    return system


def system_faults(system: System, *, memory: int, disk: int) -> list[str]:
    """Return each reason why a deploy can't run on a host."""
    supported = ", ".join(f"{name.title()} {version}" for name, version in sorted(SYSTEMS))
    faults = []
    if (system.name, system.version) not in SYSTEMS:
        faults.append(f"{system.name} {system.version} is not supported; use {supported}")
    if system.user != 0:
        faults.append("the login is not root; add --sudo, or log in as root")
    if system.memory < memory:
        faults.append(f"the host has {system.memory} MiB of memory and needs {memory}; use a bigger host")
    if system.disk < disk:
        faults.append(f"the disk of /var has {system.disk} MiB free and needs {disk}; free some space")
    return faults


def required(key: str, remedy: str) -> Any:
    """Return a value of the group data; raise DeployError if it is missing or empty."""
    value = host.data.get(key)
    if not value:
        raise DeployError(f"{host.name}: {key} is missing or empty; {remedy}")
    return value


def stop_on_faults(faults: Iterable[str]) -> None:
    """Raise one DeployError with all faults, a line each."""
    if lines := list(faults):
        raise DeployError("\n".join(lines))
