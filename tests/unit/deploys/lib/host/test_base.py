"""The files of a host's base, and the faults in its group data."""

from __future__ import annotations

from deploys.lib.host import base
from deploys.lib.host.base import HostBase
from deploys.lib.host.ssh_server import sshd_settings


def test_each_key_of_group_data_reaches_its_file() -> None:
    files = HostBase.from_group_data(
        {
            "time_servers": ["ntp.acme.example"],
            "never_ban": ["10.0.0.0/8"],
            "never_upgrade": ["postgresql-"],
            "sysctl": {"vm.swappiness": 1},
            "journal_size": "300M",
            "reboot_window": "Sun 03:00-05:00",
        }
    ).files
    assert "server ntp.acme.example iburst\n" in files[base.CLOCK]
    assert "ignoreip = 127.0.0.1/8 ::1 10.0.0.0/8\n" in files[base.BANS]
    assert 'Package-Blacklist:: "postgresql-";\n' in files[base.UPDATES]
    assert "vm.swappiness = 1\n" in files[base.KERNEL]
    assert "SystemMaxUse=300M\n" in files[base.JOURNAL]
    assert files[base.REBOOT_SERVICE].endswith('reboot.py "Sun 03:00-05:00" 300\n')
    compile(files[base.REBOOT_SCRIPT], base.REBOOT_SCRIPT, "exec")


def test_reboots_and_metrics_can_be_off() -> None:
    plain = HostBase.from_group_data({"node_exporter": False})
    assert not {base.REBOOT_TIMER, base.METRICS} & plain.files.keys()
    assert base.EXPORTER not in plain.packages


def test_all_faults_are_reported() -> None:
    given = {"journal_size": "big", "reboot_window": "Sunday", "never_upgrade": ['x"; evil']}
    assert [fault.split(":")[0] for fault in HostBase.from_group_data(given).faults()] == list(given)
    assert list(HostBase().faults()) == []


def test_only_dev_servers_have_keys_of_developers_and_forward_everything() -> None:
    others, developers = (sshd_settings({"MaxAuthTries": "3"}, developers=each) for each in (False, True))
    assert "Match" not in others
    assert "AllowTcpForwarding local\n" in others
    assert "MaxAuthTries 3\n" in others
    assert "Match Group developers\n" in developers
    assert "AllowTcpForwarding yes\n" in developers
