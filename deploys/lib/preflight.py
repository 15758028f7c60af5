"""What must hold before a deploy touches anything; else it ends at once, with a sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyinfra import host, inventory
from pyinfra.api import FactBase, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_state

from inventories import CrewError

SYSTEMS = {("debian", "12"), ("debian", "13"), ("ubuntu", "24.04")}
MIB = 1024 * 1024


class DeployError(PyinfraError, CrewError):
    """A deploy can't go on; the message names the host or group, the fact, and the way out."""


@dataclass(frozen=True)
class System:
    """A host as it tells of itself."""

    name: str
    version: str
    codename: str
    user: int
    memory: int  # MiB
    disk: int  # MiB that are free where /var is
    cpus: int
    container: bool


class SystemFact(FactBase[System]):
    """The facts that a deploy decides by, asked at once."""

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
    """Without hosts pyinfra would run no deploy at all, and call that a success."""
    state: State = ctx_state.get()
    set_stage = state.set_stage

    def checked(stage: StateStage) -> None:
        if stage is StateStage.Connect and not any(state.is_host_in_limit(each) for each in state.inventory):
            raise DeployError("there are no hosts: the inventory is empty, or --limit matches none of it")
        set_stage(stage)

    state.set_stage = checked  # type: ignore[method-assign]


def hosts_of_group(name: str) -> list[str]:
    """The names of the hosts in a group that a deploy needs, in the order of the inventory file."""
    if name not in inventory.groups or not inventory.groups[name]:
        raise DeployError(
            f"the inventory has no hosts in its group {name}, and this deploy is for them; name some there"
        )
    return [each.name for each in inventory.groups[name]]


def require_in_limit(names: Iterable[str], why: str) -> None:
    """Stop if --limit leaves out a host without which it is no good."""
    state: State = ctx_state.get()
    if left_out := [name for name in names if not state.is_host_in_limit(state.inventory.get_host(name))]:
        raise DeployError(f"--limit leaves out {', '.join(left_out)}; {why}: run it without --limit")


def check_system(*, memory: int = 0, disk: int = 0) -> System:
    """Stop unless this host's system is one we know, has enough MiB of memory and disk, and lets us be root."""
    system: System = host.get_fact(SystemFact)
    if faults := system_faults(system, memory=memory, disk=disk):
        raise DeployError(f"{host.name}: {'; '.join(faults)}")
    return system


def system_faults(system: System, *, memory: int, disk: int) -> list[str]:
    """Each reason why a deploy can't run there."""
    known = ", ".join(f"{name.title()} {version}" for name, version in sorted(SYSTEMS))
    faults = []
    if (system.name, system.version) not in SYSTEMS:
        faults.append(f"{system.name} {system.version} is not a system that this deploy knows; it knows {known}")
    if system.user != 0:
        faults.append("the login is not root; add --sudo, or log in as root")
    if system.memory < memory:
        faults.append(f"{system.memory} MiB of memory, and this deploy needs {memory}; use a bigger host")
    if system.disk < disk:
        faults.append(f"{system.disk} MiB are free on the disk of /var, and this deploy needs {disk}; make room")
    return faults


def required(key: str, way_out: str) -> Any:
    """A value of the group data that a deploy can't do without."""
    value = host.data.get(key)
    if not value:
        raise DeployError(f"{host.name}: {key} is missing or empty; {way_out}")
    return value


def no_others(where: str, given: Mapping[str, object], known: Collection[str]) -> None:
    """A key with a slip of the pen is told, not ignored."""
    if others := sorted(set(given) - set(known)):
        raise DeployError(f"{where}: {', '.join(others)}: no such key; there are {', '.join(sorted(known))}")


def stop_on_faults(faults: Iterable[str]) -> None:
    """All faults at once, not one per try."""
    if told := list(faults):
        raise DeployError("\n".join(told))
