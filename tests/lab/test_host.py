"""deploys/host.py on booted hosts, with the shipped inventory of staging."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploys.lib.host import base, reboot
from tests.lab import k3s
from tests.lab.lab import Lab
from tests.lab.test_dev_server import answering
from tests.parts.patience import until

TICK = f"python3 {base.REBOOT_SCRIPT} '00:00-23:59' 5"


@pytest.mark.long
def test_the_base_of_a_cluster_lets_its_nodes_through_and_reboots_them_in_turn(fresh: Callable[..., Lab]) -> None:
    lab = fresh(2, 13)
    server, agent = lab.hosts
    hosts = {"of": "host", "servers": 1, "reboot_window": "Sun 03:00-05:00"}
    first = k3s.run(lab, **hosts)
    assert first.code == 0, first.text
    cluster = k3s.run(lab, servers=1, k3s_version=k3s.VERSION)
    assert cluster.code == 0, cluster.text
    for again in (k3s.run(lab, **hosts), k3s.run(lab, servers=1)):
        assert (again.code, again.changes) == (0, 0), again.text

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
