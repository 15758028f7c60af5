"""deploys/k3s.py, an upgrade, a snapshot and a restore, with the real K3s on this machine.

    pytest tests/lab/real_k3s.py    # as root, with a running sshd, on a machine that you throw away afterwards

Hosts of the lab cannot run containers, so all other tests use a stand-in for K3s. This test uses the same helper, and
downloads K3s from GitHub. The workflow real-k3s runs it. Its name keeps it out of all other test runs.
"""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from deploys.lib.k3s import node_config
from tests import k3s_flags
from tests.lab import lab as labs
from tests.lab.hosts import Host
from tests.lab.k3s import kubectl, ready, run, versions
from tests.lab.lab import Lab

FIRST, NEXT = "v1.36.2+k3s1", "v1.36.4+k3s1"
RELEASES = "https://github.com/k3s-io/k3s/releases/download"
AUTHORIZED = Path("/root/.ssh/authorized_keys")


def this_machine(folder: Path) -> Lab:
    """A lab whose only host is this machine, reached through its sshd."""
    [address, *_] = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    lab = Lab(folder, 0, 0, (Host("this-machine", address, ""),))
    labs.make_home(lab)
    AUTHORIZED.parent.mkdir(mode=0o700, exist_ok=True)
    with AUTHORIZED.open("a") as keys:
        keys.write((lab.home / ".ssh/id_ed25519.pub").read_text())
    host_key = subprocess.run(["ssh-keyscan", "-t", "ed25519", address], capture_output=True, text=True, check=True)
    (lab.home / ".ssh/known_hosts").write_text(host_key.stdout)
    return lab


def test_first_run_upgrade_snapshot_and_restore(tmp_path: Path) -> None:
    lab = this_machine(tmp_path)
    real = {"servers": 1, "token": secrets.token_hex(16), "k3s_artefacts": RELEASES, "k3s_wait": 300, "k3s_drain": 60}
    real["k3s_hardened"] = True
    for of, version in (("k3s", FIRST), ("k3s_upgrade", NEXT)):
        result = run(lab, of=of, k3s_version=version, **real)
        assert result.code == 0, result.text
        assert (len(ready(lab)), versions(lab)) == (1, {version})
        assert run(lab, of=of, k3s_version=version, **real).changes == 0

    lab.ask(lab.hosts[0], "k3s etcd-snapshot save --name=mine")
    name = lab.ask(lab.hosts[0], "ls /var/lib/rancher/k3s/server/db/snapshots | grep ^mine-")
    kubectl(lab, "create namespace later")
    result = run(lab, "--data", f"k3s_restore=staging/{name}", of="k3s_restore", k3s_version=NEXT, **real)
    assert result.code == 0, result.text
    assert "later" not in kubectl(lab, "get namespaces")
    assert len(ready(lab)) == 1
    assert k3s_flags.read("/usr/local/bin/k3s") == node_config.FLAGS, "run: make k3s-flags K3S=/usr/local/bin/k3s"
