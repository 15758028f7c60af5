"""An SSH server that lets in keys only, and everything that VS Code Remote does."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO

from pyinfra import host
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State

from deploys.developers import GROUP, KEYS
from deploys.look import Seen, contents, looking, paths
from deploys.pieces import Steps, fresh_login, is_older, of_unit, quietly, sha256, stamped

FILE = "/etc/ssh/sshd_config.d/10-groundcrew.conf"
BEFORE = f"{FILE}.before"  # is there as long as the file is not proven
BACK_AFTER = 30  # seconds
SOON = f"--on-active={BACK_AFTER} --timer-property=AccuracySec=1s"  # left to itself, systemd is up to a minute late
BACK = "groundcrew-ssh-back"

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


ASKED = contents(FILE) | paths(BEFORE) | of_unit("ssh.service", [FILE])


@looking(lambda **_: ASKED)
def ssh_server(seen: Seen, text: str) -> Steps:
    """Configured and proven by a fresh login; sessions that are open stay open."""
    proven = BEFORE not in seen.things and not is_older(seen, "ssh.service", [FILE])
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
    stop = f"systemctl stop {BACK}.timer"
    return [
        f"{stop} 2>/dev/null; ! test -e {BEFORE} || {{ {go_back()}; }}",
        f": >> {FILE} && ln {FILE} {BEFORE}",
        f"systemd-run --quiet --collect {SOON} --unit={BACK} sh -c '{go_back()}'",
        f"chmod 644 {new} && mv {new} {FILE} && mkdir --parents /run/sshd",
        f"sshd -t || {{ mv {BEFORE} {FILE}; {stop}; exit 1; }}",
        "systemctl try-reload-or-restart ssh.service",
    ]


def go_back() -> str:
    """The file that was there before, and a server that runs with it, even if it has died of the other."""
    unit = "ssh.service"
    return (
        f"mv {BEFORE} {FILE} && if systemctl --quiet is-failed {unit}; then systemctl restart {unit}; "
        f"else systemctl try-reload-or-restart {unit}; fi"
    )


def _keep_or_go_back(state: State, host: Host) -> bool:
    """Keep the settings if the runner can come in anew; else go back, at once by this connection or soon by itself."""
    let_in = fresh_login(state, host)
    stop = f"systemctl stop {BACK}.timer"
    keep = f"{stop} && rm {BEFORE} && {stamped('ssh.service')}"
    done, _ = quietly(host, keep if let_in else f"{go_back()} && {stop}")
    if not (let_in and done):
        host.log(verdict(let_in=let_in, done=done))
    return let_in and done


def verdict(*, let_in: bool, done: bool) -> str:
    """Why the new settings do not hold, and which do."""
    if let_in:
        return f"these SSH settings let us in, but not within {BACK_AFTER} s, and were not kept; run it again"
    hold = "hold again" if done else f"come back by themselves within {BACK_AFTER} s"
    return f"these settings of the SSH server would lock us out, so the ones before {hold}; see ssh_settings"
