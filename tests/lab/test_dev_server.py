"""deploys/dev_server.py on booted hosts, tested from outside."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pprint import pformat
from urllib.request import urlopen

import pytest

from deploys.lib.dev_server import upkeep
from deploys.lib.host import firewall, ssh_server
from tests.lab import commands
from tests.lab.lab import Host, Lab
from tests.lab.pyinfra import ROOT, PyinfraRun, deploy
from tests.parts.crew import Repository
from tests.parts.patience import deadline

DEPLOY = "deploys/dev_server.py"
SERVICES = "docker.service fail2ban.service prometheus-node-exporter.service unattended-upgrades.service ssh.service"


class Server:
    """A lab host as a dev server, with the keys of its developers."""

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

    def run(self, *options: str, yes: bool = True, **changed: object) -> PyinfraRun:
        """Run the deploy with the group data of these tests and the changes of one test."""
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
        return deploy(self.lab, "--group-data", str(folder), *options, DEPLOY, yes=yes)

    def ask(self, command: str) -> str:
        return self.lab.ask(self.host, command)

    def as_user(self, name: str, command: str, key: str = "") -> subprocess.CompletedProcess[str]:
        return self.lab.ssh(self.host, command, user=name, key=self.key(key or name))


def first_run(lab: Lab) -> None:
    result = Server(lab).run()
    assert result.code == 0, result.text


@pytest.fixture
def server(prepared: Callable[..., Lab]) -> Server:
    return Server(prepared("dev_server", 1, first_run))


def test_the_second_run_changes_and_restarts_nothing(server: Server) -> None:
    started = f"systemctl show --property=MainPID,ActiveEnterTimestampMonotonic {SERVICES}; nft -sa list ruleset"
    before = server.ask(started)
    result = server.run("--debug")
    assert (result.code, result.changes) == (0, 0), result.text
    assert result.commands == 4, "one for the system, the accounts, the addresses of the cluster, and all other facts"
    assert server.ask(started) == before


def test_each_developer_logs_in_with_their_own_key_and_has_their_rights(server: Server) -> None:
    assert server.as_user("ada", "sudo id -un").stdout == "root\n"
    assert server.as_user("bob", "sudo -n id -un").returncode != 0
    assert server.as_user("bob", "id -u; echo $0").stdout.split() == ["2002", "sh"]
    assert server.as_user("bob", "", key="ada").returncode == 255
    assert server.as_user("bob", "ls /srv/workspaces/ada").returncode != 0
    assert server.as_user("bob", "touch /srv/workspaces/bob/x && stat -c %a /srv/workspaces/bob").stdout == "700\n"
    server.as_user("bob", f"mkdir -p ~/.ssh && echo '{server.public('ada')}' > ~/.ssh/authorized_keys")
    assert server.as_user("bob", "", key="ada").returncode == 255, "a key in the home folder is ignored"
    shown = server.ask("systemctl show user-2002.slice --property=MemoryMax,TasksMax,CPUQuotaPerSecUSec")
    assert set(shown.split()) == {"CPUQuotaPerSecUSec=4s", f"MemoryMax={2**30}", "TasksMax=8192"}


@pytest.mark.parametrize("how", ["--sudo", pytest.param("_sudo=True", marks=pytest.mark.long)])
def test_a_developer_with_sudo_can_run_the_deploy(server: Server, how: str) -> None:
    ada = ["--data", "ssh_user=ada", "--data", f"ssh_key={server.key('ada')}"]
    ada += [how] if how == "--sudo" else ["--data", how]
    result = server.run(*ada, open_ports=[22, 8080, 8081])
    assert (result.code, result.changes) == (0, 1), result.text
    assert "8081" in server.ask("nft list ruleset")
    assert server.run(*ada, open_ports=[22, 8080, 8081]).changes == 0
    assert server.run(*ada).changes == 1


def test_only_the_listed_ports_are_open(server: Server) -> None:
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
    of_groups = ["5432", "6443", "80", "443"]  # the host is a PostgreSQL server and a K3s server too
    assert re.findall(r"proto-dst (\S+) accept", rules) == ["22", "8080", *of_groups]
    assert server.ask("apt-config dump APT::Periodic::Unattended-Upgrade") == 'APT::Periodic::Unattended-Upgrade "1";'


def answering(address: str, ports: set[int]) -> list[int]:
    """Return the ports that accept a connection from outside."""
    patience = deadline(0.35)

    def answers(port: int) -> bool:
        try:
            socket.create_connection((address, port), timeout=patience).close()
        except OSError:
            return False
        return True

    with ThreadPoolExecutor(256) as side_by_side:
        return sorted(port for port, is_open in zip(ports, side_by_side.map(answers, ports), strict=True) if is_open)


def test_docker_has_the_settings_and_rejects_unknown_ones(server: Server) -> None:
    assert (
        server.as_user("ada", "docker info --format '{{.LoggingDriver}} {{.LiveRestoreEnabled}}'").stdout
        == "local true\n"
    )
    assert server.as_user("bob", "docker info").returncode != 0
    wrong = server.run(docker_settings={"no-such-thing": 1})
    assert wrong.code == 1, wrong.text
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


def test_published_ports_of_containers_need_the_same_list(server: Server) -> None:
    """As Docker does: the container has its own network, and DNAT forwards a port of the host to it."""
    server.ask(f"set -e; {BOX}")
    try:
        assert answering(server.host.address, {80, 8080, 8081}) == [8080]
    finally:
        server.ask("nft delete table ip box; systemctl stop box; sysctl --quiet --write net.ipv4.ip_forward=0")


def test_the_message_at_login_describes_the_host(server: Server) -> None:
    login = commands.ssh(server.lab.home, server.host.address, "bob", server.key("bob"))
    result = subprocess.run(
        [*login, "-tt"], input="exit\n", capture_output=True, text=True, check=False, timeout=deadline(15)
    )
    assert "lab-1: A temporary host of the lab." in result.stdout
    assert "Your workspace is /srv/workspaces/" in result.stdout


def test_metrics_are_reachable_only_from_the_listed_networks(server: Server) -> None:
    for sources, reachable in ((["198.18.0.0/15"], [22, 9100]), (["203.0.113.0/24"], [22])):
        result = server.run(open_ports=[22, {"port": 9100, "from": sources}])
        assert result.code == 0, result.text
        assert answering(server.host.address, {22, 8080, 9100}) == reachable
        if 9100 in reachable:
            metrics = urlopen(f"http://{server.host.address}:9100/metrics", timeout=deadline(5)).read().decode()
            assert "node_memory_MemTotal_bytes" in metrics
            assert "node_textfile_scrape_error 0" in metrics
    assert server.run().code == 0


def unconfirmed_settings(server: Server, more: str = "MaxSessions 7", back_after: int = 30) -> list[str]:
    """Return what an interrupted run has done to the SSH server."""
    server.ask(f"echo '{more}' > /tmp/settings")
    return [step.replace("--on-active=30", f"--on-active={back_after}") for step in SETTINGS]


def unconfirmed_rules(server: Server, policy: str = "accept", back_after: int = 30) -> list[str]:
    """Return what an interrupted run has done to the firewall."""
    rules = f"table inet groundcrew {{ chain input {{ type filter hook input priority 0; policy {policy}; }}; }}"
    server.ask(f"printf 'delete table inet groundcrew\n{rules}\n' > /tmp/rules")
    return [step.replace("--on-active=30", f"--on-active={back_after}") for step in RULES]


SETTINGS, RULES = ssh_server.activate_settings("/tmp/settings"), firewall.activate_rules("/tmp/rules")
LOCKOUTS = [
    (
        {"ssh_settings": {"AllowUsers": "nobody"}},
        "the new SSH server settings would lock you out",
        unconfirmed_settings,
    ),
    (
        {"ssh_settings": {"ListenAddress": "192.0.2.1"}},
        "so the previous ones are active again; correct ssh_settings",
        None,
    ),
    ({"ssh_settings": {"PasswordAuthentication": "maybe"}}, "unsupported option", unconfirmed_settings),
    (
        {"open_ports": [2222]},
        "the new firewall rules would lock you out, so the previous ones are active again",
        unconfirmed_rules,
    ),
]
STATE = "cat /etc/ssh/sshd_config.d/*.conf /etc/nftables.conf; sshd -T; nft -s list ruleset; ls /etc/ssh/sshd_config.d"


# As on a busy host, a reload of the SSH server ends before the server reads its settings.
SLOW_RELOAD = """mkdir --parents /run/systemd/system/ssh.service.d
cat > /run/systemd/system/ssh.service.d/slow.conf <<'END'
[Service]
ExecReload=
ExecReload=/bin/sh -c '(sleep 4; kill -HUP $MAINPID) &'
END
systemctl daemon-reload"""


def test_settings_that_would_lock_you_out_are_rolled_back(server: Server) -> None:
    server.ask(SLOW_RELOAD)
    before = server.ask(STATE)
    for changed, expected, interrupted_run in LOCKOUTS:
        if interrupted_run:
            assert server.ask(f"{' && '.join(interrupted_run(server))} && {{ {STATE}; }}") != before
        result = server.run(**changed)
        assert result.code == 1, result.text
        assert expected in result.text
        assert server.ask(STATE) == before
    assert server.as_user("ada", "true").returncode == 0
    again = server.run()
    assert (again.code, again.changes) == (0, 0), again.text


def test_the_host_rolls_back_by_itself_when_the_run_is_interrupted(server: Server) -> None:
    before = server.ask(STATE)
    for unit, steps in (
        (firewall.ROLLBACK.unit, unconfirmed_rules(server, "drop", back_after=1)),
        (ssh_server.ROLLBACK.unit, unconfirmed_settings(server, "AllowUsers nobody", back_after=1)),
    ):
        with pytest.raises(subprocess.TimeoutExpired):
            server.lab.ssh(server.host, f"{' && '.join(steps)}; sleep 60", timeout=deadline(1.5))
        wait = f"while systemctl --quiet is-active {unit}.timer {unit}.service; do sleep 0.1; done"
        assert server.ask(f"{wait}; {STATE}") == before


def test_the_next_run_confirms_what_an_interrupted_run_left(server: Server) -> None:
    before = server.ask(STATE)
    interrupted = [*unconfirmed_rules(server, back_after=600), *unconfirmed_settings(server, back_after=600)]
    server.ask(" && ".join(interrupted))
    result = server.run()
    assert (result.code, result.changes) == (0, 2), result.text
    assert server.ask(STATE) == before
    assert server.ask("systemctl list-units --all --no-legend 'groundcrew-*-rollback.*'") == ""


def test_a_departed_developer_is_locked_out_and_the_home_stays(server: Server) -> None:
    server.as_user("bob", "systemd-run --user true; nohup sleep 600 >/dev/null 2>&1 & echo mine > kept")
    assert server.ask("pgrep --count --uid bob sleep") == "1"
    departed = server.run(
        developers=[{"name": "ada", "uid": 2001, "keys": [server.public("ada")]}], departed=["bob", "eve"]
    )
    assert departed.code == 0, departed.text
    assert server.as_user("bob", "true").returncode == 255
    assert server.lab.ssh(server.host, "pgrep --uid bob").stdout == ""
    assert server.ask("cat /home/bob/kept") == "mine"
    assert server.as_user("ada", "sudo -n true").returncode != 0, "sudo was taken from Ada too"
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
    assert "Lock accounts not in group data: bob, ghost" in unnamed.text
    assert server.as_user("bob", "true").returncode == 255
    assert server.ask("ls /etc/ssh/authorized_keys.d; id -Gn bob; ! pgrep --uid bob; cat /home/bob/kept").split() == [
        "ada", "bob", "mine",
    ]  # fmt: skip
    back = server.run()
    assert back.code == 0, back.text
    assert server.as_user("bob", "cat kept").stdout == "mine\n"


def test_the_next_run_restarts_a_unit_that_an_interrupted_run_did_not(server: Server) -> None:
    server.ask("touch /etc/default/prometheus-node-exporter")
    pid = server.ask("systemctl show --property=MainPID prometheus-node-exporter")
    result = server.run()
    assert result.changes == 1, result.text
    assert server.ask("systemctl show --property=MainPID prometheus-node-exporter") != pid


def test_a_dry_run_lists_changes_and_makes_none(server: Server) -> None:
    result = server.run("--dry", yes=False, about="A different host.")
    assert result.code == 0, result.text
    assert "Message at login" in result.text
    assert "A different host" not in server.ask("cat /etc/motd")
    assert result.text.index("Sudo rules") < result.text.index("Accounts"), "a run with --sudo keeps sudo"


def test_the_job_hosts_finds_a_change_by_hand_and_leaves_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path)
    repository.environment("lab", '[hosts]\ndeploys = ["dev_server"]\n')
    assert server.run().changes == 0
    shutil.copy(ROOT / "inventories/lab", tmp_path / "inventories")
    shutil.copytree(ROOT / "inventories/group_data", tmp_path / "inventories/group_data")
    with (tmp_path / "inventories/group_data/lab.py").open("a") as data:
        data.write((server.lab.folder / "data/lab.py").read_text())
    monkeypatch.setenv("CREW_LAB", str(server.lab.folder))
    clean = repository.crew("run", "hosts", "lab")
    assert (clean.code, "no drift on 1 host" in clean.out) == (0, True), clean
    server.ask("cp --preserve /etc/motd /root/motd && echo 'I was here.' >> /etc/motd")
    try:
        found = repository.crew("run", "hosts", "lab")
        assert found.code == 2, found
        assert "1 change on 1 of 1 host (lab-1: Message at login /etc/motd differs, written 20" in found.out
        assert server.ask("tail -1 /etc/motd") == "I was here."
    finally:
        server.ask("mv /root/motd /etc/motd")


@pytest.mark.long
def test_mistakes_in_group_data_stop_it_with_a_message(server: Server) -> None:
    none = server.run(developers=[])
    assert none.code == 1, none.text
    assert "lab-1: developers is missing or empty; add them in inventories/group_data/dev_servers.py" in none.text
    wrong = server.run(developers=[{"name": "Eve", "uid": 3, "keys": ["x"]}], open_ports=["all"])
    assert wrong.code == 1, wrong.text
    assert wrong.text.count("\nlab-1: ") + wrong.text.count(": lab-1: ") >= 4, wrong.text
    server.ask("mv /swapfile /swapfile.aside")
    zoe = {"name": "zoe", "uid": 2003, "keys": [server.public("ada")], "shell": "/bin/zsh"}
    on_host = server.run(developers=[zoe], departed=["www-data"], swap="9000G")
    assert server.lab.ssh(server.host, upkeep.swap_commands("9000000G")[0]).returncode != 0
    assert server.ask("mv /swapfile.aside /swapfile; ls /swapfile*") == "/swapfile"
    assert on_host.code == 1, on_host.text
    for expected in (
        "developers: zoe: shell /bin/zsh does not exist",
        "departed: www-data is a system account",
        "swap: 9000G does not fit",
    ):
        assert f"lab-1: {expected}" in on_host.text
    no_hosts = server.run("--limit", "nobody")
    assert no_hosts.code == 1, no_hosts.text
    assert "there are no hosts" in no_hosts.text


@pytest.mark.long
def test_debian_13_works_and_hosts_of_other_groups_stay_unchanged(fresh: Callable[..., Lab]) -> None:
    server = Server(fresh(2, 13))
    first = server.run(containers="podman")
    assert first.code == 0, first.text
    assert server.as_user("ada", "sudo id -un").stdout == "root\n"
    again = server.run(containers="podman")
    assert (again.code, again.changes) == (0, 0), again.text
    assert server.ask("podman info --format '{{.Registries.search}}'") == "[docker.io]"
    assert server.lab.ssh(server.lab.hosts[1], "id ada || ls /etc/fail2ban").returncode != 0
