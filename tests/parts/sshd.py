"""A real sshd on a free port, and an `ssh` that has its key."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs.embedded import RunningProgram, free_port, start_program


@dataclass(frozen=True)
class Bastion:
    """A host with the name `bastion` for ssh, if its folder of programs is first on PATH."""

    programs: Path
    program: RunningProgram
    port: int
    name: str = "bastion"


@contextmanager
def sshd(folder: Path, port: int = 0) -> Iterator[Bastion]:
    """Start sshd. The first start creates keys; with the same folder and port it is the same host again."""
    port = port or free_port()
    if not (folder / "host").exists():
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        _client(folder, port)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"AllowStreamLocalForwarding yes\nPermitRootLogin prohibit-password\n"
    )
    argv = [shutil.which("sshd", path="/usr/sbin:/usr/bin") or "sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
    with start_program("sshd", argv, folder / "sshd.log", environment={"PATH": os.environ["PATH"]}) as program:
        program.wait_until(lambda: "Server listening" in (folder / "sshd.log").read_text())
        yield Bastion(folder / "bin", program, port)
    (folder / "sshd.log").unlink()


def _client(folder: Path, port: int) -> None:
    """Write a wrapper that names the configuration: ssh ignores HOME and reads the account's home folder."""
    public = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    (folder / "config").write_text(
        f"Host bastion\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
        "  StrictHostKeyChecking yes\n"
    )
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    wrapper.chmod(0o755)
