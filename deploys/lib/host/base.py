"""The base of every host: SSH, firewall, updates, reboots, fail2ban, clock, kernel, audit, journal, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyinfra import host

from deploys.lib import operations, preflight
from deploys.lib.facts import HostFacts, operation_with_facts, paths, unit_states
from deploys.lib.header import HEADER, SENTENCE
from deploys.lib.host import firewall, ports, reboot, ssh_server
from deploys.lib.operations import ENABLED_STATES, Steps, is_outdated, stamp_command, unit_and_files

PACKAGES = ("auditd", "chrony", "fail2ban", "nftables", "python3-systemd", "sudo", "unattended-upgrades")
EXPORTER, EXPORTER_UNIT = "prometheus-node-exporter", "prometheus-node-exporter.service"
UPDATES = "/etc/apt/apt.conf.d/20auto-upgrades"
BANS = "/etc/fail2ban/jail.d/groundcrew.local"
CLOCK = "/etc/chrony/conf.d/groundcrew.conf"
KERNEL = "/etc/sysctl.d/60-groundcrew.conf"
METRICS = "/etc/default/prometheus-node-exporter"
JOURNAL = "/etc/systemd/journald.conf.d/groundcrew.conf"
AUDIT = "/etc/audit/rules.d/50-groundcrew.rules"
FLUSH = "/etc/systemd/system/nftables.service.d/groundcrew.conf"
REBOOT_SCRIPT = "/usr/local/lib/groundcrew/reboot.py"
REBOOT_SERVICE, REBOOT_TIMER = (f"/etc/systemd/system/groundcrew-reboot.{kind}" for kind in ("service", "timer"))
SIZE = re.compile(r"\d+[MG]")

# Debian's unit flushes all rules when it stops, also those of Docker and K3s.
KEEP_RULES = f"{HEADER}[Service]\nExecStop=\nExecStop=-/usr/sbin/nft delete table {firewall.TABLE}\n"
# What an intruder changes to stay: accounts, logins, sudo, units, jobs, the firewall and kernel modules.
WATCHED = (
    *("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh"),
    *("/etc/pam.d", "/etc/systemd/system", "/etc/crontab", "/etc/cron.d", "/etc/nftables.conf", "/etc/audit"),
    "/etc/ld.so.preload",
)
SYSCTL: Mapping[str, object] = {
    "fs.inotify.max_user_instances": 1024,
    "fs.inotify.max_user_watches": 524288,  # editors watch whole trees
    "fs.suid_dumpable": 0,
    "kernel.dmesg_restrict": 1,
    "kernel.kptr_restrict": 2,
    "kernel.sysrq": 0,
    "kernel.unprivileged_bpf_disabled": 1,
    "kernel.yama.ptrace_scope": 1,
    "net.core.bpf_jit_harden": 2,
    "net.ipv4.conf.all.accept_redirects": 0,
    "net.ipv4.conf.default.accept_redirects": 0,
    "net.ipv4.conf.all.accept_source_route": 0,
    "net.ipv4.conf.default.accept_source_route": 0,
    "net.ipv4.conf.all.secure_redirects": 0,
    "net.ipv4.conf.default.secure_redirects": 0,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.ipv4.conf.default.send_redirects": 0,
    "net.ipv4.tcp_rfc1337": 1,
    "net.ipv6.conf.all.accept_redirects": 0,
    "net.ipv6.conf.default.accept_redirects": 0,
    "vm.swappiness": 10,
}


@dataclass(frozen=True)
class HostBase:
    """The group data for the base of a host."""

    time_servers: tuple[str, ...] = ()
    never_ban: tuple[str, ...] = ()
    never_upgrade: tuple[str, ...] = ()
    sysctl: Mapping[str, object] = field(default_factory=dict)
    journal_size: str = "1G"
    reboot_window: str = ""
    node_exporter: bool = True
    drain: int = 300  # seconds for the pods of a K3s node, before it reboots

    @classmethod
    def from_group_data(cls, given: Any) -> HostBase:
        exporter, drain = given.get("node_exporter"), given.get("k3s_drain")
        return cls(
            time_servers=tuple(given.get("time_servers") or ()),
            never_ban=tuple(given.get("never_ban") or ()),
            never_upgrade=tuple(given.get("never_upgrade") or ()),
            sysctl=given.get("sysctl") or {},
            journal_size=str(given.get("journal_size") or "1G"),
            reboot_window=str(given.get("reboot_window") or ""),
            node_exporter=exporter is None or bool(exporter),
            drain=300 if drain is None else int(drain),
        )

    @property
    def packages(self) -> tuple[str, ...]:
        return (*PACKAGES, *([EXPORTER] if self.node_exporter else []))

    def faults(self) -> Iterator[str]:
        """Yield each fault in the group data."""
        if not SIZE.fullmatch(self.journal_size):
            yield f'journal_size: {self.journal_size!r} is not a size; use one such as "1G"'
        if self.reboot_window and not reboot.parse_window(self.reboot_window):
            yield f'reboot_window: {self.reboot_window!r} is not a time; use one such as "Sun 03:00-05:00"'
        for pattern in self.never_upgrade:
            if not re.fullmatch(r"[\w.+^$*\[\]-]+", pattern):
                yield f'never_upgrade: {pattern!r} is not a pattern of packages; use one such as "postgresql-"'

    @property
    def files(self) -> dict[str, str]:
        """The text of each file, by path."""
        return {
            UPDATES: settings_of_updates(self.never_upgrade),
            BANS: ban_settings(self.never_ban),
            CLOCK: HEADER + "".join(f"server {each} iburst\n" for each in self.time_servers),
            KERNEL: HEADER + "".join(f"{key} = {value}\n" for key, value in sorted({**SYSCTL, **self.sysctl}.items())),
            JOURNAL: journal_settings(self.journal_size),
            AUDIT: audit_rules(),
            FLUSH: KEEP_RULES,
            **({METRICS: METRICS_TEXT} if self.node_exporter else {}),
            **(reboot_files(self.reboot_window, self.drain) if self.reboot_window else {}),
        }


METRICS_TEXT = f'{HEADER}ARGS="--collector.textfile.directory=/var/lib/prometheus/node-exporter"\n'


def settings_of_updates(never: tuple[str, ...]) -> str:
    """Return apt's settings: install security updates each day, except for packages with these names."""
    kept = "".join(f'Unattended-Upgrade::Package-Blacklist:: "{each}";\n' for each in never)
    return (
        f'// {SENTENCE}\nAPT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
        f'Unattended-Upgrade::Automatic-Reboot "false";\n{kept}'
    )


def ban_settings(never: tuple[str, ...]) -> str:
    """Return fail2ban's settings: an address that fails to log in five times waits an hour."""
    ignored = " ".join(["127.0.0.1/8", "::1", *never])
    return (
        f"{HEADER}[DEFAULT]\nbackend = systemd\nbanaction = nftables\nbanaction_allports = nftables[type=allports]\n"
        f"ignoreip = {ignored}\n[sshd]\nenabled = true\nmaxretry = 5\nfindtime = 10m\nbantime = 1h\n"
    )


def journal_settings(size: str) -> str:
    """Return journald settings that limit the journal, and keep last night's logs when the host reboots."""
    return f"{HEADER}[Journal]\nStorage=persistent\nSystemMaxUse={size}\n"


def audit_rules() -> str:
    """Return rules for the kernel's audit log. auditd limits the size of its own files."""
    watches = "".join(f"-w {path} -p wa -k groundcrew\n" for path in WATCHED)
    modules = "-a always,exit -F arch=b64 -S init_module,finit_module,delete_module -F auid!=unset -k groundcrew\n"
    return f"{HEADER}-i\n{watches}{modules}"


def reboot_files(window: str, drain: int) -> dict[str, str]:
    """Return the files that reboot a host in its window after an update that needs it."""
    return {
        REBOOT_SCRIPT: HEADER + Path(reboot.__file__).read_text(),
        REBOOT_SERVICE: (
            f"{HEADER}[Unit]\nDescription=Reboot after an update that needs it\n[Service]\nType=oneshot\n"
            f'TimeoutStartSec=infinity\nExecStart=/usr/bin/python3 {REBOOT_SCRIPT} "{window}" {drain}\n'
        ),
        REBOOT_TIMER: (
            f"{HEADER}[Unit]\nDescription=Reboot after an update that needs it\n[Timer]\nOnCalendar=*:0/2\n"
            "AccuracySec=1s\n[Install]\nWantedBy=timers.target\n"
        ),
    }


def check_host(more: Iterable[str] = ()) -> HostBase:
    """Return the base of this host; raise DeployError with all faults in its group data, and with `more` faults."""
    base = HostBase.from_group_data(host.data)
    faults = [*more, *base.faults(), *firewall.faults(host.data.get("open_ports") or [])]
    preflight.stop_on_faults(f"{host.name}: {fault}" for fault in faults)
    return base


def apply_base(base: HostBase, *, container: bool) -> None:
    """Add the operations that give this host its base. Its packages must be installed."""
    for path, text in host.loop(sorted(base.files.items())):
        operations.write_file(name=path, text=text, dest=path, mode="640" if path == AUDIT else "644")
    if not base.reboot_window:
        remove_reboots(name="No reboots")
    operations.reload_systemd(name="Reload systemd for the base", files=[FLUSH, REBOOT_SERVICE, REBOOT_TIMER])
    units = {"fail2ban.service": [BANS], "chrony.service": [CLOCK], "systemd-journald.service": [JOURNAL]}
    units |= {"unattended-upgrades.service": [], "apt-daily-upgrade.timer": []}
    units |= {EXPORTER_UNIT: [METRICS]} if base.node_exporter else {}
    units |= {Path(REBOOT_TIMER).name: [REBOOT_TIMER]} if base.reboot_window else {}
    for name, files in host.loop(units.items()):
        operations.ensure_unit(name=name, unit=name, files=files)
    if not base.node_exporter:
        disable_unit(name="No node_exporter", unit=EXPORTER_UNIT)
    operations.ensure_unit(name="Kernel settings", unit="systemd-sysctl.service", files=[KERNEL], oneshot=True)
    if not container:  # the kernel has one audit log, which a container cannot use
        operations.ensure_unit(name="auditd.service", unit="auditd.service")
        load_audit_rules(name="Audit rules")
    settings = ssh_server.sshd_settings(host.data.get("ssh_settings") or {}, developers=ports.is_dev_server())
    ssh_server.configure_ssh_server(name="SSH server", text=settings)
    if ports.has_firewall():
        apply_rules()


def apply_rules() -> None:
    """Add the operations that close all ports of this host but those of its groups. nftables must be installed."""
    firewall.apply_firewall(name="Firewall", text=ports.host_rules())
    operations.ensure_unit(name="Firewall at boot", unit="nftables.service", oneshot=True)


@operation_with_facts(lambda unit, **_: unit_states(unit))
def disable_unit(facts: HostFacts, unit: str) -> Steps:
    """Stop a unit and keep it from starting at boot."""
    if facts.units[unit].active or facts.units[unit].file_state in ENABLED_STATES:
        yield f"systemctl disable --quiet --now {unit}"


@operation_with_facts(lambda **_: paths(REBOOT_TIMER))
def remove_reboots(facts: HostFacts) -> Steps:
    """Remove the reboot window of an earlier run."""
    if REBOOT_TIMER in facts.paths:
        yield f"systemctl disable --quiet --now {Path(REBOOT_TIMER).name}"
        yield f"rm --force {REBOOT_SCRIPT} {REBOOT_SERVICE} {REBOOT_TIMER} && systemctl daemon-reload"


@operation_with_facts(lambda **_: unit_and_files("auditd.service", [AUDIT]))
def load_audit_rules(facts: HostFacts) -> Steps:
    """Load changed rules. systemd cannot restart auditd: its unit refuses to be stopped by hand."""
    if is_outdated(facts, "auditd.service", [AUDIT]):
        yield "augenrules --load"
        yield stamp_command("auditd.service")
