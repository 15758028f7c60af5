"""An SSH server that accepts keys only."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO

from pyinfra import host
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State

from deploys.lib.dev_server.developers import GROUP, KEY_FOLDER
from deploys.lib.facts import HostFacts, file_contents, operation_with_facts, paths
from deploys.lib.header import HEADER
from deploys.lib.operations import Steps, is_outdated, sha256, stamp_command, unit_and_files
from deploys.lib.rollback import TimedRollback

FILE = "/etc/ssh/sshd_config.d/10-groundcrew.conf"
PREVIOUS = f"{FILE}.previous"  # exists while the new file is not confirmed
UNIT = "ssh.service"
ROLLBACK = TimedRollback(
    unit="groundcrew-ssh-rollback",
    subject="SSH server settings",
    hint="correct ssh_settings",
    # Put the previous file back and make the server use it, also if the server has stopped because of the new one.
    restore_command=f"mv {PREVIOUS} {FILE} && if systemctl --quiet is-failed {UNIT}; then systemctl restart {UNIT}; "
    f"else systemctl try-restart {UNIT}; fi",
)

SETTINGS = {
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "PermitRootLogin": "prohibit-password",
    "PermitEmptyPasswords": "no",
    "MaxAuthTries": "4",
    "MaxSessions": "10",
    "LoginGraceTime": "30",
    "ClientAliveInterval": "60",
    "ClientAliveCountMax": "10",
    "X11Forwarding": "no",
    "LogLevel": "VERBOSE",  # the log names the key of each login
    "MACs": "-hmac-sha1*,umac-64*",
    "AllowAgentForwarding": "no",
    "AllowTcpForwarding": "local",  # tunnels of jobs to a database
    "AllowStreamLocalForwarding": "no",
}
# VS Code Remote forwards ports and sockets, and developers use keys of their own machine.
DEVELOPER_SETTINGS = {
    "MaxSessions": "64",
    "AllowAgentForwarding": "yes",
    "AllowTcpForwarding": "yes",
    "AllowStreamLocalForwarding": "yes",
}


def sshd_settings(others: Mapping[str, str], *, developers: bool) -> str:
    """Return the text of the sshd settings. The keys of developers are in a directory that only root can change."""
    values = {**SETTINGS, **(DEVELOPER_SETTINGS if developers else {}), **others}
    lines = "".join(f"{name} {value}\n" for name, value in values.items())
    match = f"Match Group {GROUP}\n  AuthorizedKeysFile {KEY_FOLDER}/%u\n  AuthenticationMethods publickey\n"
    return f"{HEADER}{lines}{match if developers else ''}"


QUESTIONS = file_contents(FILE) | paths(PREVIOUS) | unit_and_files(UNIT, [FILE])


@operation_with_facts(lambda **_: QUESTIONS)
def configure_ssh_server(facts: HostFacts, text: str) -> Steps:
    """Write the settings, and confirm them by a fresh login. Open sessions stay open."""
    confirmed = PREVIOUS not in facts.paths and not is_outdated(facts, UNIT, [FILE])
    if confirmed and facts.checksums.get(FILE) == sha256(text):
        host.noop("the SSH server is up to date")
        return
    new = f"{FILE}.new"
    yield FileUploadCommand(StringIO(text), new, remote_temp_filename=host.get_temp_filename(new))
    yield from activate_settings(new)
    yield FunctionCommand(_confirm_or_restore, (), {})


def activate_settings(new: str) -> list[str]:
    """Return the commands that activate the new settings and start the rollback timer.

    If an interrupted run left unconfirmed settings, they are rolled back first. So the saved file is always confirmed.
    The server restarts, which ends no session. With a reload, the fresh login could be earlier than the new settings on
    a busy host. If the server does not start, that login fails.
    """
    return [
        f"{ROLLBACK.stop_timer} 2>/dev/null; ! test -e {PREVIOUS} || {{ {ROLLBACK.restore_command}; }}",
        f": >> {FILE} && ln {FILE} {PREVIOUS}",
        ROLLBACK.start_timer,
        f"chmod 644 {new} && mv {new} {FILE} && mkdir --parents /run/sshd",
        f"sshd -t || {{ mv {PREVIOUS} {FILE}; {ROLLBACK.stop_timer}; exit 1; }}",
        f"systemctl try-restart {UNIT} || true",
    ]


def _confirm_or_restore(state: State, host: Host) -> bool:
    return ROLLBACK.confirm_or_restore(state, host, confirm=f"rm {PREVIOUS} && {stamp_command(UNIT)}")
