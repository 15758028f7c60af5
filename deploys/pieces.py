"""Operations that several deploys are made of. Each looks again when it runs, so a run that died half-way is mended."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Generator, Iterable, Sequence
from io import StringIO
from typing import TypeAlias

from paramiko import SSHException
from pyinfra import host
from pyinfra.api import FactBase, FileUploadCommand, FunctionCommand, Host, State, StringCommand, operation
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.files import Sha256File

from inventories import Secret

Steps: TypeAlias = Generator[str | StringCommand | FileUploadCommand | FunctionCommand]

PATIENCE = 5  # seconds that a server may take to listen again
STARTS_BY_ITSELF = (["enabled"], ["enabled-runtime"], ["static"], ["alias"], ["generated"])
STAMPS = "/run/groundcrew"
APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet --no-install-recommends "
    "-o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300"
)


class Lines(FactBase[list[str]]):
    """What a command prints; nothing if it fails."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, asked: str) -> str:
        return f"({asked}) 2>/dev/null || true"

    def process(self, output: list[str]) -> list[str]:
        return output


@operation()
def packages_are_there(packages: Sequence[str]) -> Steps:
    """Install what is missing, and nothing that is only recommended."""
    missing = sorted(set(packages) - set(host.get_fact(DebPackages) or {}))
    if not missing:
        host.noop("all packages are there")
        return
    yield f"{APT} update"
    yield f"{APT} install {shlex.join(missing)}"


@operation()
def checked_file(dest: str, text: str, check: str, mode: str = "644") -> Steps:
    """Replace a file only by one that a program has found right: `check` reads the new one at {}."""
    modes = host.get_fact(Lines, f"stat --format=%a {dest}")
    if host.get_fact(Sha256File, path=dest) == sha256(text) and modes == [mode]:
        host.noop(f"{dest} is as it should be")
        return
    new = f"{dest}.new"
    yield FileUploadCommand(StringIO(text), new, remote_temp_filename=host.get_temp_filename(new))
    yield f"chown root:root {new} && chmod {mode} {new}"
    yield f"{check.format(new)} || {{ rm --force {new}; exit 1; }}"
    yield f"mv {new} {dest}"


@operation()
def secret_file(dest: str, text: Secret, mode: str = "600", owner: str = "root:root") -> Steps:
    """Write what nobody else may read: through stdin, so that no output, --diff or process list has it."""
    if _read_silently(dest) == f"{mode} {owner}\n{text.reveal()}":
        host.noop(f"{dest} is as it should be")
        return
    yield FunctionCommand(_write_silently, (dest, text, mode, owner), {})


def _read_silently(dest: str) -> str:
    asked = f"stat --format='%a %U:%G' {dest} 2>/dev/null && cat {dest} || true"
    told, output = quietly(host, asked)
    return "\n".join(output) + "\n" if told else ""


def _write_silently(state: State, host: Host, dest: str, text: Secret, mode: str, owner: str) -> bool:
    new = f"{dest}.new"
    write = f"umask 077 && cat > {new} && chown {owner} {new} && chmod {mode} {new} && mv {new} {dest}"
    told, _ = quietly(host, write, text.reveal())
    return told


def quietly(host: Host, command: str, stdin: str = "") -> tuple[bool, list[str]]:
    """Run a command of which nothing shows, at any verbosity: whether it did well, and what it printed.

    Of one that failed also what it said on stderr.
    """
    root = {"_sudo": True} if host.state.config.SUDO else {}
    try:
        told, output = host.run_shell_command(StringCommand(command), _stdin=stdin.splitlines(), **root)
    except (OSError, SSHException) as error:
        return False, [f"{host.name} can't be reached: {error}"]
    return told, output.stdout_lines if told else output.output_lines


@operation()
def made_once(path: str, commands: Sequence[str]) -> Steps:
    """Run commands where what they make is not there yet."""
    if not host.get_fact(Lines, f"ls --directory {path}"):
        yield from commands


@operation()
def current(unit: str, files: Iterable[str] = (), verb: str = "restart", oneshot: bool = False) -> Steps:
    """A unit is enabled and runs with the files that are there: restarted when one is newer than its start."""
    yield from brought_up(unit, files, verb, oneshot=oneshot)


def brought_up(
    unit: str, files: Iterable[str], verb: str, *, when_stopped: str = "start", oneshot: bool = False
) -> Steps:
    if host.get_fact(Lines, f"systemctl is-enabled {unit}") not in STARTS_BY_ITSELF:
        yield f"systemctl enable --quiet {unit}"
    stopped = not oneshot and not host.get_fact(Lines, is_settled(unit))
    if stopped or host.get_fact(Lines, newer_than_start(unit, files)):
        yield f"systemctl {when_stopped if stopped else verb} {unit}"
        yield stamped(unit)


@operation()
def units_are_read(files: Iterable[str]) -> Steps:
    """systemd has read unit files as they are now."""
    if host.get_fact(Lines, newer_than_start("", files)):
        yield "systemctl daemon-reload"
        yield stamped("systemd")


def is_settled(unit: str) -> str:
    """Prints something if a unit runs, or was tried and does not belong on this host by its own conditions."""
    tried = f"$(systemctl show --property=ConditionResult,ConditionTimestampMonotonic --value {unit} | tr '\\n' ' ')"
    unfit = f'case "{tried}" in "no 0 " | "0 no ") ;; *no*) echo unfit ;; esac'
    return f"systemctl is-active --quiet {unit} && echo active || {unfit}"


def newer_than_start(unit: str, files: Iterable[str]) -> str:
    """Prints the files that were written after a unit (or systemd itself) started and after we last told it of them."""
    asked = f"--property=ActiveEnterTimestamp --value {unit}" if unit else "--property=UserspaceTimestamp --value"
    started = f'"$(systemctl show {asked} | grep . || echo @0)"'
    told = f'"$(stat --format=%y {STAMPS}/{unit or "systemd"} || echo @0)"'
    return f"find {' '.join(files)} -newermt {started} -newermt {told}" if files else "true"


def stamped(unit: str) -> str:
    return f"mkdir --parents {STAMPS} && touch {STAMPS}/{unit}"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def fresh_login(state: State, host: Host) -> bool:
    """Log in anew, as this run did: whether that works, soon."""
    end = time.monotonic() + PATIENCE
    while fault := _fault_of_login(state, host):
        if time.monotonic() > end:
            host.log(f"a fresh login fails: {fault}")
            return False
        time.sleep(0.2)
    return True


def _fault_of_login(state: State, host: Host) -> str:
    login = type(host.connector)(state, host)
    try:
        login.connect()
        told, _ = login.run_shell_command(StringCommand("true"), print_output=False, print_input=False)
    except Exception as error:  # whatever is in the way, it is the answer
        return str(error)
    finally:
        if client := getattr(login, "client", None):
            client.close()
    return "" if told else "a command can't be run"
