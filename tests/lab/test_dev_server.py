"""deploys/dev_server.py on real hosts, looked at from outside."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pprint import pformat
from urllib.request import urlopen

import pytest

from deploys.lib.host import firewall, ssh_server, upkeep
from tests.lab import commands
from tests.lab.lab import Host, Lab
from tests.lab.pyinfra import Told, deploy

DEPLOY = "deploys/dev_server.py"
SERVICES = "docker.service fail2ban.service prometheus-node-exporter.service unattended-upgrades.service ssh.service"


class Server:
    """A lab host as a dev server, and the keys of those who work on it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.host: Host = lab.hosts[0]

    def key(self, name: str) -> Path:
        key = self.lab.folder / f"{name}.key"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)
        return key

    def public(self, name: str) -> str:
        return self.key(name).with_suffix(".key.pub").read_text().strip()

    def run(self, *told: str, yes: bool = True, **changed: object) -> Told:
        """The deploy with the group data of these tests, and what a test changes of it."""
        developers = [
            {"name": "ada", "uid": 2001, "keys": [self.public("ada")], "sudo": True},
            {"name": "bob", "uid": 2002, "keys": [self.public("bob")], "limits": {"memory": "1G"}, "shell": "/bin/sh"},
        ]
        data = {
            "developers": developers,
            "packages": ["tree"],
            "containers": "docker",
            "open_ports": [22, 8080],
            **changed,
        }
        folder = self.lab.folder / "data"
        folder.mkdir(exist_ok=True)
        (folder / "lab.py").write_text("".join(f"{name} = {pformat(value)}\n" for name, value in data.items()))
        return deploy(self.lab, "--group-data", str(folder), *told, DEPLOY, yes=yes)

    def ask(self, command: str) -> str:
        return self.lab.ask(self.host, command)

    def as_user(self, name: str, command: str, key: str = "") -> subprocess.CompletedProcess[str]:
        return self.lab.ssh(self.host, command, user=name, key=self.key(key or name))


def first_run(lab: Lab) -> None:
    told = Server(lab).run()
    assert told.code == 0, told.text


@pytest.fixture
def server(prepared: Callable[..., Lab]) -> Server:
    return Server(prepared("dev_server", 1, first_run))


def test_the_second_run_changes_and_restarts_nothing(server: Server) -> None:
    started = f"systemctl show --property=MainPID,ActiveEnterTimestampMonotonic {SERVICES}; nft -sa list ruleset"
    before = server.ask(started)
    told = server.run("--debug")
    assert (told.code, told.changes) == (0, 0), told.text
    assert told.commands == 3, "what kind of host it is, who is there, and all the rest at once"
    assert server.ask(started) == before


def test_each_gets_in_with_the_own_key_and_has_what_was_given(server: Server) -> None:
    assert server.as_user("ada", "sudo id -un").stdout == "root\n"
    assert server.as_user("bob", "sudo -n id -un").returncode != 0
    assert server.as_user("bob", "id -u; echo $0").stdout.split() == ["2002", "sh"]
    assert server.as_user("bob", "", key="ada").returncode == 255
    assert server.as_user("bob", "ls /srv/workspaces/ada").returncode != 0
    assert server.as_user("bob", "touch /srv/workspaces/bob/x && stat -c %a /srv/workspaces/bob").stdout == "700\n"
    server.as_user("bob", f"mkdir -p ~/.ssh && echo '{server.public('ada')}' > ~/.ssh/authorized_keys")
    assert server.as_user("bob", "", key="ada").returncode == 255, "keys of one's own making open nothing"
    shown = server.ask("systemctl show user-2002.slice --property=MemoryMax,TasksMax,CPUQuotaPerSecUSec")
    assert set(shown.split()) == {"CPUQuotaPerSecUSec=4s", f"MemoryMax={2**30}", "TasksMax=8192"}


@pytest.mark.parametrize("how", ["--sudo", "_sudo=True"])
def test_who_has_sudo_can_run_it_too(server: Server, how: str) -> None:
    ada = ["--data", "ssh_user=ada", "--data", f"ssh_key={server.key('ada')}"]
    ada += [how] if how == "--sudo" else ["--data", how]
    told = server.run(*ada, open_ports=[22, 8080, 8081])
    assert (told.code, told.changes) == (0, 1), told.text
    assert "8081" in server.ask("nft list ruleset")
    assert server.run(*ada, open_ports=[22, 8080, 8081]).changes == 0
    assert server.run(*ada).changes == 1


def test_the_host_is_closed_but_for_what_was_named(server: Server) -> None:
    server.ask("systemd-run --quiet --collect --unit=answers python3 -m http.server 8080")
    server.ask("until ss --listening --tcp --numeric | grep -q :8080; do sleep 0.1; done")
    listening = server.ask("ss --listening --tcp --numeric --no-header | awk '{print $4}' | grep -v 127.0.0.1")
    listened = {int(address.rpartition(":")[2]) for address in listening.splitlines()}
    assert listened >= {22, 8080, 9100}
    assert answering(server.host.address, {*range(1, 1025), *listened, 6443}) == [22, 8080]
    server.ask("systemctl stop answers")
    shown = set(server.ask("sshd -T").splitlines())
    assert shown >= {
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "permitrootlogin without-password",
        "allowtcpforwarding yes",
        "allowstreamlocalforwarding yes",
        "x11forwarding no",
    }
    modes = server.ask("stat -c '%a %U %n' /etc/sudoers.d/groundcrew /etc/ssh/authorized_keys.d/ada /swapfile")
    assert [line.split()[:2] for line in modes.splitlines()] == [["440", "root"], ["644", "root"], ["600", "root"]]
    server.ask("visudo --check --quiet && fail2ban-client status sshd && nft --check --file /etc/nftables.conf")
    rules = server.ask("nft -s list ruleset")
    assert "policy drop" in rules
    assert re.findall(r"proto-dst (\S+) accept", rules) == ["22", "8080"]
    assert server.ask("apt-config dump APT::Periodic::Unattended-Upgrade") == 'APT::Periodic::Unattended-Upgrade "1";'


def answering(address: str, ports: set[int]) -> list[int]:
    """Which of these ports take a connection from outside."""

    def answers(port: int) -> bool:
        try:
            socket.create_connection((address, port), timeout=0.7).close()
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(256) as side_by_side:
        return sorted(port for port, there in zip(ports, side_by_side.map(answers, ports), strict=True) if there)


def test_docker_is_as_it_was_set_up_and_says_what_it_does_not_understand(server: Server) -> None:
    assert (
        server.as_user("ada", "docker info --format '{{.LoggingDriver}} {{.LiveRestoreEnabled}}'").stdout
        == "local true\n"
    )
    assert server.as_user("bob", "docker info").returncode != 0
    wrong = server.run(docker_settings={"no-such-thing": 1})
    assert wrong.code == 1
    assert "the following directives don't match any configuration option: no-such-thing" in wrong.text
    right = server.run()
    assert right.code == 0, right.text
    assert server.ask("systemctl is-active docker") == "active"


BOX = """
systemd-run --quiet --collect --unit=box --property=PrivateNetwork=yes python3 -m http.server 80
until box=$(systemctl show --property=MainPID --value box) && nsenter --net=/proc/$box/ns/net true; do sleep 0.1; done
ip link add published type veth peer name inside netns $box
ip address add 172.31.9.1/24 dev published && ip link set published up
nsenter --net=/proc/$box/ns/net sh -c 'ip address add 172.31.9.2/24 dev inside && ip link set inside up &&
  ip route add default via 172.31.9.1 && until ss --listening --tcp --numeric | grep -q :80; do sleep 0.1; done'
sysctl --quiet --write net.ipv4.ip_forward=1
nft 'add table ip box; add chain ip box arrive { type nat hook prerouting priority dstnat; }
  add rule ip box arrive tcp dport 8080-8081 dnat to 172.31.9.2:80'
"""


def test_what_a_container_publishes_is_held_to_the_same_ports(server: Server) -> None:
    """As Docker does it: a network of its own, and what arrives at a port of the host is sent there."""
    server.ask(f"set -e; {BOX}")
    try:
        assert answering(server.host.address, {80, 8080, 8081}) == [8080]
    finally:
        server.ask("nft delete table ip box; systemctl stop box; sysctl --quiet --write net.ipv4.ip_forward=0")


def test_who_logs_in_reads_what_host_this_is(server: Server) -> None:
    login = commands.ssh(server.lab.home, server.host.address, "bob", server.key("bob"))
    told = subprocess.run([*login, "-tt"], input="exit\n", capture_output=True, text=True, check=False, timeout=30)
    assert "lab-1: A host of the lab, gone tomorrow." in told.stdout
    assert "Your workspace is /srv/workspaces/" in told.stdout


def test_figures_are_read_from_where_they_may_be(server: Server) -> None:
    for sources, open_to_us in ((["198.18.0.0/15"], [22, 9100]), (["203.0.113.0/24"], [22])):
        told = server.run(open_ports=[22, {"port": 9100, "from": sources}])
        assert told.code == 0, told.text
        assert answering(server.host.address, {22, 8080, 9100}) == open_to_us
        if 9100 in open_to_us:
            figures = urlopen(f"http://{server.host.address}:9100/metrics", timeout=10).read().decode()
            assert "node_memory_MemTotal_bytes" in figures
            assert "node_textfile_scrape_error 0" in figures
    assert server.run().code == 0


def unproven_settings(server: Server, more: str = "MaxSessions 7", back_after: int = 30) -> list[str]:
    """What a run that died has done to the SSH server."""
    server.ask(f"echo '{more}' > /tmp/settings")
    return [step.replace("--on-active=30", f"--on-active={back_after}") for step in SETTINGS]


def unproven_rules(server: Server, policy: str = "accept", back_after: int = 30) -> list[str]:
    """What a run that died has done to the firewall."""
    rules = f"table inet groundcrew {{ chain input {{ type filter hook input priority 0; policy {policy}; }}; }}"
    server.ask(f"printf 'delete table inet groundcrew\n{rules}\n' > /tmp/rules")
    return [step.replace("--on-active=30", f"--on-active={back_after}") for step in RULES]


SETTINGS, RULES = ssh_server.in_force_for_a_while("/tmp/settings"), firewall.in_force_for_a_while("/tmp/rules")
WOULD_LOCK_US_OUT = [
    ({"ssh_settings": {"AllowUsers": "nobody"}}, "settings of the SSH server would lock us out", unproven_settings),
    ({"ssh_settings": {"ListenAddress": "192.0.2.1"}}, "so the ones before hold again; see ssh_settings", None),
    ({"ssh_settings": {"PasswordAuthentication": "maybe"}}, "unsupported option", unproven_settings),
    ({"open_ports": [2222]}, "firewall rules would lock us out, so the ones before hold again", unproven_rules),
]
STATE = "cat /etc/ssh/sshd_config.d/*.conf /etc/nftables.conf; sshd -T; nft -s list ruleset; ls /etc/ssh/sshd_config.d"


def test_what_would_lock_us_out_is_taken_back(server: Server) -> None:
    before = server.ask(STATE)
    for changed, said, left_by_another in WOULD_LOCK_US_OUT:
        if left_by_another:
            assert server.ask(f"{' && '.join(left_by_another(server))} && {{ {STATE}; }}") != before
        told = server.run(**changed)
        assert told.code == 1
        assert said in told.text
        assert server.ask(STATE) == before
    assert server.as_user("ada", "true").returncode == 0
    again = server.run()
    assert (again.code, again.changes) == (0, 0), again.text


def test_what_locks_us_out_goes_back_by_itself_when_the_runner_dies_over_it(server: Server) -> None:
    before = server.ask(STATE)
    for unit, steps in (
        (firewall.TRIAL.unit, unproven_rules(server, "drop", back_after=1)),
        (ssh_server.TRIAL.unit, unproven_settings(server, "AllowUsers nobody", back_after=1)),
    ):
        with pytest.raises(subprocess.TimeoutExpired):
            server.lab.ssh(server.host, f"{' && '.join(steps)}; sleep 60", timeout=3)
        until_done = f"while systemctl --quiet is-active {unit}.timer {unit}.service; do sleep 0.1; done"
        assert server.ask(f"{until_done}; {STATE}") == before


def test_what_a_run_that_died_left_unproven_is_proven_by_the_next(server: Server) -> None:
    before = server.ask(STATE)
    server.ask(" && ".join([*unproven_rules(server), *unproven_settings(server)]))
    told = server.run()
    assert (told.code, told.changes) == (0, 2), told.text
    assert server.ask(STATE) == before
    assert server.ask("systemctl list-units --all --no-legend 'groundcrew-*-back.*'") == ""


def test_who_left_is_out_and_the_home_stays(server: Server) -> None:
    server.as_user("bob", "systemd-run --user true; nohup sleep 600 >/dev/null 2>&1 & echo mine > kept")
    assert server.ask("pgrep --count --uid bob sleep") == "1"
    gone = server.run(
        developers=[{"name": "ada", "uid": 2001, "keys": [server.public("ada")]}], departed=["bob", "eve"]
    )
    assert gone.code == 0, gone.text
    assert server.as_user("bob", "true").returncode == 255
    assert server.lab.ssh(server.host, "pgrep --uid bob").stdout == ""
    assert server.ask("cat /home/bob/kept") == "mine"
    assert server.as_user("ada", "sudo -n true").returncode != 0, "what was taken from Ada is gone too"
    again = server.run(
        developers=[{"name": "ada", "uid": 2001, "keys": [server.public("ada")]}], departed=["bob", "eve"]
    )
    assert again.changes == 0, again.text
    back = server.run()
    assert back.code == 0, back.text
    assert server.as_user("bob", "cat kept; nohup sleep 600 >/dev/null 2>&1 &").stdout == "mine\n"
    server.ask("touch /etc/ssh/authorized_keys.d/ghost")
    unnamed = server.run(developers=[{"name": "ada", "uid": 2001, "keys": [server.public("ada")]}])
    assert unnamed.code == 0, unnamed.text
    assert "Named nowhere, so locked out: bob, ghost" in unnamed.text
    assert server.as_user("bob", "true").returncode == 255
    assert server.ask("ls /etc/ssh/authorized_keys.d; id -Gn bob; ! pgrep --uid bob; cat /home/bob/kept").split() == [
        "ada", "bob", "mine",
    ]  # fmt: skip
    back = server.run()
    assert back.code == 0, back.text
    assert server.as_user("bob", "cat kept").stdout == "mine\n"


def test_a_run_that_died_before_the_restart_is_made_good(server: Server) -> None:
    server.ask("touch /etc/default/prometheus-node-exporter")
    pid = server.ask("systemctl show --property=MainPID prometheus-node-exporter")
    told = server.run()
    assert told.changes == 1, told.text
    assert server.ask("systemctl show --property=MainPID prometheus-node-exporter") != pid


def test_dry_says_what_would_change_and_changes_nothing(server: Server) -> None:
    told = server.run("--dry", yes=False, about="Quite another host.")
    assert told.code == 0
    assert "Message at login" in told.text
    assert "Quite another" not in server.ask("cat /etc/motd")
    assert told.text.index("Rules of sudo") < told.text.index("Accounts"), "who runs this can always be root"


def test_it_ends_at_once_with_a_sentence(server: Server) -> None:
    none = server.run(developers=[])
    assert none.code == 1
    assert "lab-1: developers is missing or empty; name them in inventories/group_data/dev_servers.py" in none.text
    wrong = server.run(developers=[{"name": "Eve", "uid": 3, "keys": ["x"]}], open_ports=["all"])
    assert wrong.code == 1
    assert wrong.text.count("\nlab-1: ") + wrong.text.count(": lab-1: ") >= 4, wrong.text
    server.ask("mv /swapfile /swapfile.aside")
    zoe = {"name": "zoe", "uid": 2003, "keys": [server.public("ada")], "shell": "/bin/zsh"}
    on_host = server.run(developers=[zoe], departed=["www-data"], swap="9000G")
    assert server.lab.ssh(server.host, upkeep.swap_commands("9000000G")[0]).returncode != 0
    assert server.ask("mv /swapfile.aside /swapfile; ls /swapfile*") == "/swapfile"
    assert on_host.code == 1
    for said in ("developers: zoe: there is no shell /bin/zsh", "departed: www-data has uid 33", "swap: 9000G, but "):
        assert f"lab-1: {said}" in on_host.text, on_host.text
    nobody = server.run("--limit", "nobody")
    assert nobody.code == 1
    assert "there are no hosts" in nobody.text


def test_debian_13_too_and_hosts_of_other_groups_are_left_alone(fresh: Callable[..., Lab]) -> None:
    there = Server(fresh(2, 13))
    first = there.run(containers="podman")
    assert first.code == 0, first.text
    assert there.as_user("ada", "sudo id -un").stdout == "root\n"
    again = there.run(containers="podman")
    assert (again.code, again.changes) == (0, 0), again.text
    assert there.ask("podman info --format '{{.Registries.search}}'") == "[docker.io]"
    assert there.lab.ssh(there.lab.hosts[1], "id ada || ls /etc/fail2ban").returncode != 0
