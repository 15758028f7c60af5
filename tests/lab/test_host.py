"""deploys/host.py on booted hosts, with the shipped inventory of staging."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from deploys.lib.host import base, reboot
from deploys.lib.k3s import hardening
from tests.lab import commands, k3s
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.pyinfra import ROOT
from tests.lab.test_dev_server import answering
from tests.parts.patience import until

TICK = f"python3 {base.REBOOT_SCRIPT} '00:00-00:00' 5"


CONFIG, STATE = "/etc/rancher/k3s/config.yaml", "/var/lib/rancher/k3s/server/db/etcd/state.json"


def has(*words: str) -> str:
    """Return a command that succeeds if the configuration has all words."""
    return " && ".join(f"grep --quiet -e '{word}' {CONFIG}" for word in words)


def private(path: str, mode: int = 600) -> str:
    """Return a command that succeeds if only root can read a file or directory."""
    return f"test \"$(stat --format='%U %a' {path})\" = 'root {mode}'"


def applied(*words: str) -> str:
    """Return a command that succeeds if the API has objects with all words."""
    return " && ".join(f"grep --quiet -e '{word}' {STATE}" for word in words)


# By the first number of a row in docs/k3s-hardening.md.
POINTS = {
    "1.2.9": f"{has('EventRateLimit')} && {private(hardening.ADMISSION)}",
    "1.2.14": has("enable-admission-plugins=NodeRestriction"),
    "1.2.16": f"{has('audit-log-maxage=30', 'maxbackup=10', 'maxsize=100')} && {private(hardening.AUDIT_FOLDER, 700)}",
    "1.2.27": f"{has('secrets-encryption: true')} && k3s secrets-encrypt status | grep --quiet 'Status: Enabled'",
    "1.2.30": has("service-account-extend-token-expiration=false"),
    "1.3.1": has("terminated-pod-gc-threshold=100"),
    "3.1.2": f"{private(CONFIG)} && {has('agent-token')}",
    "3.2.1": f"{has('audit-policy-file=')} && {private(hardening.AUDIT_POLICY)}",
    "4.2.5": has("streaming-connection-idle-timeout=5m"),
    "4.2.12": has("tls-cipher-suites=TLS_ECDHE"),
    "4.2.13": has("pod-max-pids=4096"),
    "4.2.14": has("seccomp-default=true"),
    "guide": f"{has('protect-kernel-defaults: true')} && grep -q 'vm.overcommit_memory = 1' /etc/sysctl.d/90-k3s.conf",
    "5.1.1": applied('"RoleBinding"', '"name": "edit"'),
    "5.1.5": applied('"automountServiceAccountToken": false'),
    "5.1.8": applied('"subjects": \\[\\], "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"'),
    "5.2.1": f'grep --quiet \'"enforce": "restricted"\' {hardening.ADMISSION}',
    "5.3.2": applied('"default-deny"', '"intra-namespace"'),
    "5.6.1": applied('"Namespace"'),
    "5.6.2": applied('"pod-security.kubernetes.io/enforce": "restricted"'),
}


def failed_points(lab: Lab) -> list[str]:
    """Check the points of the table on the server, print each, and return those that do not hold."""
    table = (ROOT / "docs/k3s-hardening.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if re.match(r"\| (\d|guide)", line)]
    ours = {row[0].partition("-")[0]: row for row in rows if row[2] == "deploy"}
    assert ours.keys() == POINTS.keys()
    script = "".join(f"if {command}; then echo held; else echo failed; fi\n" for command in POINTS.values())
    states = dict(zip(POINTS, lab.ask(lab.hosts[0], script).splitlines(), strict=True))
    for point, what, state, how in rows:
        print(f"{point:14} {states.get(point.partition('-')[0], state):6} {what}; {how}")
    return [point for point, state in states.items() if state != "held"]


def has_line(lab: Lab, host: Host, line: str) -> bool:
    return line in lab.ask(host, f"cat {CONFIG}").splitlines()


@pytest.mark.long
def test_the_base_of_a_cluster_lets_its_nodes_through_and_reboots_them_in_turn(fresh: Callable[..., Lab]) -> None:
    lab = fresh(2, 13)
    server, agent = lab.hosts
    shared = commands.address(lab.number, 190)
    hardened = {"servers": 1, "k3s_hardened": True, "k3s_virtual_ip": shared}
    hosts = {"of": "host", "reboot_window": "Sun 03:00-05:00", **hardened}
    first = k3s.run(lab, **hosts)
    assert first.code == 0, first.text
    cluster = k3s.run(lab, k3s_version=k3s.VERSION, **hardened)
    assert cluster.code == 0, cluster.text
    for again in (k3s.run(lab, **hosts), k3s.run(lab, **hardened)):
        assert (again.code, again.changes) == (0, 0), again.text
    assert failed_points(lab) == []
    assert has_line(lab, agent, f'server: "https://{shared}:6443"')
    assert f"server: https://{shared}:6443" in (lab.home / ".kube/staging.yaml").read_text()
    assert shared in lab.ask(server, "ip address"), "the second runs changed nothing with it"
    assert shared not in lab.ask(server, "cat /etc/nftables.conf")
    key = k3s.run(lab, "--data", "k3s_rekey=staging", of="k3s_rekey", **hardened)
    assert key.code == 0, key.text
    status = lab.ask(server, "k3s secrets-encrypt status").splitlines()
    assert status[1:] == ["Current Rotation Stage: reencrypt_finished", "Server Encryption Hashes: All hashes match"]

    for host in lab.hosts:
        lab.ask(host, "systemd-run --quiet --unit=etcd python3 -m http.server 2379")
        lab.ask(host, "systemd-run --quiet --unit=kubelet python3 -m http.server 10250")
        lab.ask(host, "until ss -ltn | grep -q :10250 && ss -ltn | grep -q :2379; do sleep 0.1; done")
    assert answering(server.address, {22, 80, 443, 2379, 6443, 9100, 10250}) == [22, 6443]
    reached = "for port in 2379 9100 10250; do curl -so /dev/null --max-time 2 {}:$port && echo $port; done; true"
    assert lab.ask(agent, reached.format(server.address)).split() == ["9100", "10250"], "etcd is for servers"
    assert lab.ask(server, reached.format(agent.address)).split() == ["2379", "9100", "10250"]
    assert "allowtcpforwarding local" in lab.ask(agent, "sshd -T").splitlines()
    assert "SystemMaxUse=1G" in lab.ask(agent, "systemd-analyze cat-config systemd/journald.conf")
    assert lab.ask(agent, "systemctl is-active groundcrew-reboot.timer fail2ban").split() == ["active"] * 2

    lab.ask(agent, "systemctl stop groundcrew-reboot.timer")
    lab.ask(server, "systemctl stop groundcrew-reboot.timer")
    lab.ask(agent, f"touch {reboot.REQUIRED}; {TICK}")
    lab.ask(server, TICK)
    assert k3s.closed(lab) == ["lab-2"]
    lab.ask(agent, f"{TICK}; test -e /run/systemd/shutdown/scheduled; shutdown -c; rm {reboot.REQUIRED}; {TICK}")
    until(lambda: lab.ask(server, TICK) == "" and k3s.closed(lab) == [], 20)
    assert not {reboot.STATE, reboot.CORDONED} & k3s.nodes(lab)["lab-2"]["metadata"]["annotations"].keys()
