"""An SSH server that lets in keys only, and everything that VS Code Remote does."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO

from pyinfra import host
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State

from deploys.lib.dev_server.developers import GROUP, KEYS
from deploys.lib.facts import HostFacts, contents, looking, paths
from deploys.lib.operations import Steps, is_older, of_unit, sha256, stamped
from deploys.lib.rollback import Trial

FILE = "/etc/ssh/sshd_config.d/10-groundcrew.conf"
BEFORE = f"{FILE}.before"  # is there as long as the file is not proven
UNIT = "ssh.service"
TRIAL = Trial(
    unit="groundcrew-ssh-back",
    what="settings of the SSH server",
    hint="see ssh_settings",
    # The file that was there before, and a server that runs with it, even if it has died of the other.
    go_back=f"mv {BEFORE} {FILE} && if systemctl --quiet is-failed {UNIT}; then systemctl restart {UNIT}; "
    f"else systemctl try-reload-or-restart {UNIT}; fi",
)

SETTINGS = {
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "PermitRootLogin": "prohibit-password",
    "PermitEmptyPasswords": "no",
    "MaxAuthTries": "4",
    "MaxSessions": "64",
    "LoginGraceTime": "30",
    "ClientAliveInterval": "60",
    "ClientAliveCountMax": "10",
    "X11Forwarding": "no",
    # VS Code Remote forwards ports and sockets.
    "AllowTcpForwarding": "yes",
    "AllowStreamLocalForwarding": "yes",
}


def settings(others: Mapping[str, str]) -> str:
    """The file; the keys of developers are where only root can change them."""
    lines = "".join(f"{name} {value}\n" for name, value in {**SETTINGS, **others}.items())
    return (
        f"# Written by groundcrew; changes made here are overwritten.\n{lines}"
        f"Match Group {GROUP}\n  AuthorizedKeysFile {KEYS}/%u\n  AuthenticationMethods publickey\n"
    )


ASKED = contents(FILE) | paths(BEFORE) | of_unit(UNIT, [FILE])


@looking(lambda **_: ASKED)
def ssh_server(seen: HostFacts, text: str) -> Steps:
    """Configured and proven by a fresh login; sessions that are open stay open."""
    proven = BEFORE not in seen.things and not is_older(seen, UNIT, [FILE])
    if proven and seen.sums.get(FILE) == sha256(text):
        host.noop("the SSH server is as it should be")
        return
    new = f"{FILE}.new"
    yield FileUploadCommand(StringIO(text), new, remote_temp_filename=host.get_temp_filename(new))
    yield from in_force_for_a_while(new)
    yield FunctionCommand(_keep_or_go_back, (), {})


def in_force_for_a_while(new: str) -> list[str]:
    """Commands after which the new settings hold, and end by themselves unless somebody stops that.

    What a run that died has left unproven goes back first, so that the file that is kept aside is always a proven one.
    """
    return [
        f"{TRIAL.end} 2>/dev/null; ! test -e {BEFORE} || {{ {TRIAL.go_back}; }}",
        f": >> {FILE} && ln {FILE} {BEFORE}",
        TRIAL.begin,
        f"chmod 644 {new} && mv {new} {FILE} && mkdir --parents /run/sshd",
        f"sshd -t || {{ mv {BEFORE} {FILE}; {TRIAL.end}; exit 1; }}",
        f"systemctl try-reload-or-restart {UNIT}",
    ]


def _keep_or_go_back(state: State, host: Host) -> bool:
    return TRIAL.kept_or_gone_back(state, host, keep=f"rm {BEFORE} && {stamped(UNIT)}")
