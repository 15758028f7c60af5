"""An SSH server that lets in keys only, and everything that VS Code Remote does."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO

from pyinfra import host
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State

from deploys.developers import GROUP, KEYS
from deploys.look import Seen, contents, looking
from deploys.pieces import Steps, fresh_login, is_older, of_unit, quietly, sha256, stamped

FILE = "/etc/ssh/sshd_config.d/10-groundcrew.conf"
BEFORE = f"{FILE}.before"

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


ASKED = contents(FILE) | of_unit("ssh.service", [FILE])


@looking(lambda **_: ASKED)
def ssh_server(seen: Seen, text: str) -> Steps:
    """Configured and proven by a fresh login; sessions that are open stay open."""
    if seen.sums.get(FILE) == sha256(text) and not is_older(seen, "ssh.service", [FILE]):
        host.noop("the SSH server is as it should be")
        return
    new = f"{FILE}.new"
    yield FileUploadCommand(StringIO(text), new, remote_temp_filename=host.get_temp_filename(new))
    yield from in_force(new)
    yield FunctionCommand(_keep_or_go_back, (), {})


def in_force(new: str) -> list[str]:
    return [
        f"cp --preserve {FILE} {BEFORE} 2>/dev/null || : > {BEFORE}",
        f"chmod 644 {new} && mv {new} {FILE} && mkdir --parents /run/sshd",
        f"sshd -t || {{ {go_back()}; exit 1; }}",
        "systemctl try-reload-or-restart ssh.service",
    ]


def go_back() -> str:
    return f"mv {BEFORE} {FILE}"


def _keep_or_go_back(state: State, host: Host) -> bool:
    let_in = fresh_login(state, host)
    then = stamped("ssh.service") if let_in else f"{go_back()}; systemctl try-reload-or-restart ssh.service"
    quietly(host, f"{then}; rm --force {BEFORE}")
    if not let_in:
        host.log("these settings of the SSH server would lock us out, so the ones before hold again; see ssh_settings")
    return let_in
