"""Which nodes can leave a K3s cluster, and which files are removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploys.lib.k3s import leaving as k3s_leaving
from deploys.lib.k3s.cluster import ClusterHosts
from deploys.lib.k3s.files import DATA
from tests.unit.deploys.lib.k3s.kubectl_nodes import node

HOSTS = ClusterHosts("staging", ("one", "two", "three"), ("four", "five"), {})


@pytest.mark.parametrize(
    ("value", "leaving", "faults"),
    [
        ("staging", ("one", "two", "three", "four", "five"), []),
        ("five,one,five", ("five", "one"), []),
        ("", (), ["--data k3s_reset=five, or the whole cluster with all its data: --data k3s_reset=staging"]),
        ("six", ("six",), ["six is not a host of this cluster"]),
        ("one,two,three", ("one", "two", "three"), ["without one, two, three no server is left for four, five"]),
        ("one,two,three,four,five", ("one", "two", "three", "four", "five"), ["this is the whole cluster; confirm"]),
    ],
)
def test_the_value_names_hosts_or_the_environment(value: str, leaving: tuple[str, ...], faults: list[str]) -> None:
    assert k3s_leaving.hosts_to_reset(value, HOSTS) == leaving
    actual = list(k3s_leaving.faults(value, HOSTS))
    assert len(actual) == len(faults), actual
    assert all(part in fault for part, fault in zip(faults, actual, strict=True)), actual


@pytest.mark.parametrize(
    ("down", "leaving", "allowed"),
    [
        ((), ["one"], True),
        ((), ["one", "two"], True),
        (("two",), ["two"], True),
        (("two",), ["one"], False),
        (("two",), ["four"], True),
        (("two", "three"), ["one"], False),
        ((), ["one", "two", "three"], False),
        ((), ["no-such-node"], True),
    ],
)
def test_servers_leave_only_while_the_others_are_a_majority(
    down: tuple[str, ...], leaving: list[str], allowed: bool
) -> None:
    nodes = {name: node(ready=name not in down) for name in ("one", "two", "three")} | {"four": node(etcd=False)}
    assert (list(k3s_leaving.majority_faults(nodes, leaving)) == []) is allowed


def test_cleanup_never_enters_a_mounted_file_system() -> None:
    commands = list(k3s_leaving.cleanup_commands())
    assert "test ! -e /var/lib/kubelet || { find /var/lib/kubelet -xdev -mindepth 1 -delete && " in "\n".join(commands)
    first_umount = next(index for index, line in enumerate(commands) if "umount" in line)
    first_delete = next(index for index, line in enumerate(commands) if "-xdev" in line)
    assert first_umount < first_delete
    assert "/var/lib/rancher/k3s -xdev" in commands[-2], "the folder that shows that K3s was installed is removed last"


def test_cleanup_finds_the_iptables_that_k3s_brings(tmp_path: Path) -> None:
    """A host without iptables has the rules of a stopped K3s all the same."""
    [rules] = [line for line in k3s_leaving.cleanup_commands() if "-restore" in line]
    aux = tmp_path / "data/abc/bin/aux"
    aux.mkdir(parents=True)
    (aux / "iptables-save").write_text("#!/bin/sh\nprintf 'mine\\nKUBE-SVC\\nCNI-1\\nFLANNEL-FWD\\n'\n")
    (aux / "iptables-restore").write_text(f"#!/bin/sh\ncat > {tmp_path}/kept\n")
    for program in aux.iterdir():
        program.chmod(0o755)
    own = rules.replace(DATA, str(tmp_path))
    subprocess.run(["sh", "-c", own], check=True, env={"PATH": f"{tmp_path}/empty:/bin"})
    assert (tmp_path / "kept").read_text() == "mine\n"
