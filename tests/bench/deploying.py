"""A deploy of fifty steps on lab hosts: with Ansible, with plain pyinfra, and with groundcrew."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.bench.fifty import ASK, FILES, FOLDERS, GROUP, SHELL, THERE, USERS, WIPE
from tests.bench.shape import Bench, Side
from tests.lab import lab, rootfs
from tests.lab.lab import Lab

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
GOALS = {"ansible-playbook": 1 / 6, "pyinfra as it comes": 1 / 2}


def nothing_new(hosts: int, rounds: int) -> Bench:
    """Nothing needs to change."""

    @contextmanager
    def sides(folder: Path) -> Iterator[Sequence[Side]]:
        with _booted(hosts) as there:
            ways = _ways(there, folder)
            _make(there, ways["groundcrew"])
            _prove(there)
            unchanged = {
                "ansible-playbook": "! grep --quiet 'changed=[1-9]' {}",
                "pyinfra as it comes": "grep --quiet 'Grand total  *[0-9]*  *-  ' {}",
                "groundcrew": "grep --quiet 'Grand total  *[0-9]*  *-  ' {}",
            }
            output = shlex.quote(str(folder / "output"))
            commands = {
                name: f"{{ {way}; }} > {output} 2>&1 && {unchanged[name].format(output)} || {{ cat {output}; exit 1; }}"
                for name, way in ways.items()
            }
            yield _sides(there, folder, commands, before=lambda: None, goals=GOALS)
            _prove(there)

    return Bench(f"Fifty steps on {hosts} hosts, nothing to change", sides, rounds)


def from_nothing(hosts: int, rounds: int) -> Bench:
    """Everything needs to change. Each run is checked, then undone."""

    @contextmanager
    def sides(folder: Path) -> Iterator[Sequence[Side]]:
        with _booted(hosts) as there:
            ways = _ways(there, folder)
            _make(there, ways["groundcrew"])

            def prove_and_wipe() -> None:
                _prove(there)
                _on_each(there, lambda host: there.ask(host, f"{{ {WIPE}; }} 2>/dev/null"))

            yield _sides(there, folder, ways, before=prove_and_wipe, goals={})
            _prove(there)

    return Bench(f"Fifty steps on {hosts} hosts, all to be made", sides, rounds)


def _make(there: Lab, way: str) -> None:
    """Run all fifty steps once, unmeasured."""
    everything = {**os.environ, **_environment(there)}
    subprocess.run(way, shell=True, check=True, capture_output=True, env=everything)


@contextmanager
def _booted(hosts: int) -> Iterator[Lab]:
    there = lab.up(rootfs.CACHE / f"bench-{secrets.token_hex(4)}", hosts, bound=True)
    try:
        yield there
    finally:
        lab.down(there.folder)


def _on_each(there: Lab, ask: Callable[[lab.Host], str]) -> list[str]:
    with ThreadPoolExecutor() as side_by_side:
        return list(side_by_side.map(ask, there.hosts))


def _prove(there: Lab) -> None:
    """Check the state of each host over a new login."""
    for state in _on_each(there, lambda host: there.ask(host, ASK)):
        assert state == THERE, state


def _sides(
    there: Lab,
    folder: Path,
    commands: Mapping[str, str],
    before: Callable[[], None],
    goals: Mapping[str, float],
) -> list[Side]:
    def first() -> None:
        before()
        _hang_up(folder)

    return [
        Side(name, command, _environment(there), first, than=goals if name == "groundcrew" else {})
        for name, command in commands.items()
    ]


def _environment(there: Lab) -> dict[str, str]:
    return {"HOME": str(there.home), "CREW_LAB": str(there.folder), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def _ways(there: Lab, folder: Path) -> dict[str, str]:
    """The command lines."""
    inventory = folder / "hosts"
    inventory.write_text(_PYINFRA_HOSTS.format(hosts=[host.address for host in there.hosts], home=there.home))
    (folder / "playbook.yaml").write_text(yaml.safe_dump(_playbook()))
    (folder / "ansible.ini").write_text("".join(f"{host.address}\n" for host in there.hosts))
    (folder / "ansible.cfg").write_text(_ANSIBLE.format(forks=len(there.hosts), folder=folder, home=there.home))
    stock = ROOT / "tests/bench/fifty_pyinfra.py"
    return {
        "ansible-playbook": f"cd {folder} && {BIN}/ansible-playbook -i ansible.ini playbook.yaml",
        "pyinfra as it comes": f"cd {folder} && {BIN}/pyinfra -y hosts {stock}",
        "groundcrew": f"cd {ROOT} && {BIN}/pyinfra -y inventories/lab tests/bench/fifty_groundcrew.py",
    }


def _playbook() -> list[dict[str, object]]:
    tasks: list[dict[str, object]] = [
        *(
            {"file": {"path": path, "state": "directory", "mode": "0750", "owner": "root", "group": "root"}}
            for path in FOLDERS
        ),
        *(
            {"copy": {"dest": path, "content": text, "mode": "0640", "owner": "root", "group": "root"}}
            for path, text in FILES.items()
        ),
        {"group": {"name": GROUP}},
        *({"user": {"name": name, "uid": uid, "shell": SHELL, "groups": [GROUP]}} for name, uid in USERS.items()),
    ]
    return [{"hosts": "all", "gather_facts": False, "tasks": tasks}]


def _hang_up(folder: Path) -> None:
    """Close Ansible's connections from the previous run, since the other tools start without one."""
    for socket in (folder / "ssh").glob("*"):
        subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "it"], check=False, capture_output=True)


_PYINFRA_HOSTS = """
_ssh = "{home}/.ssh"
_connect = {{"ssh_user": "root", "ssh_key": f"{{_ssh}}/id_ed25519", "ssh_known_hosts_file": f"{{_ssh}}/known_hosts"}}
hosts = [(each, _connect) for each in {hosts!r}]
"""
_ANSIBLE = """
[defaults]
forks = {forks}
remote_user = root
private_key_file = {home}/.ssh/id_ed25519
interpreter_python = /usr/bin/python3
gathering = explicit
local_tmp = {folder}/tmp
[ssh_connection]
pipelining = True
control_path_dir = {folder}/ssh
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={home}/.ssh/known_hosts
"""
