"""Operations that several deploys use.

Each operation reads the state of the host when it runs. So if a run is interrupted, the next one completes it.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import PurePosixPath
from typing import ParamSpec, TypeAlias

from paramiko import SSHException
from pyinfra import host, logger
from pyinfra.api import FactBase, FileUploadCommand, FunctionCommand, Host, State, StringCommand
from pyinfra.facts.files import FileContents
from pyinfra.operations.util.files import generate_color_diff

from deploys.lib.facts import (
    HostFacts,
    Questions,
    command_output,
    file_contents,
    operation_with_facts,
    paths,
    sudo_arguments,
    unit_states,
)
from deploys.lib.messages import log_message
from inventories import Secret
from inventories.printable import printable_lines

P = ParamSpec("P")
Steps: TypeAlias = Generator[str | StringCommand | FileUploadCommand | FunctionCommand]

ENABLED_STATES = {"enabled", "enabled-runtime", "static", "alias", "generated"}
STAMP_FOLDER = "/run/groundcrew"
APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet --no-install-recommends "
    "-o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300"
)
JOURNAL_PATIENCE = 10  # seconds that journald has to write its last lines
APT_TRIES, APT_PAUSE = 150, 2  # the pause in seconds: five minutes in all, as for the lock of dpkg


LOCAL_OPERATIONS: set[Callable[..., Steps]] = set()


def on_this_machine(decide: Callable[P, Steps]) -> Callable[P, Steps]:
    """Mark an operation that changes no host, only the machine that runs the deploy, such as a kubeconfig there."""
    LOCAL_OPERATIONS.add(decide)
    return decide


class CommandLines(FactBase[list[str]]):
    """The lines that a command prints; none if it fails."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, command: str) -> str:
        return f"({command}) 2>/dev/null || true"

    def process(self, output: list[str]) -> list[str]:
        return output


@operation_with_facts(lambda packages, **_: command_output(list_installed(packages)))
def install_packages(facts: HostFacts, packages: Sequence[str]) -> Steps:
    """Install the packages that are missing, without recommended ones.

    install_packages(name="Packages", packages=["git", "tmux"])
    """
    missing = missing_packages(facts, packages)
    if not missing:
        host.noop("all packages are installed")
        return
    yield wait_for_apt_lock(f"{APT} update")
    yield wait_for_apt_lock(f"{APT} install {shlex.join(missing)}")


def missing_packages(facts: HostFacts, packages: Sequence[str]) -> list[str]:
    """Return the packages that a host lacks, as `install_packages` asked it."""
    return sorted(set(packages) - set(facts.output[list_installed(packages)]))


def wait_for_apt_lock(apt: str) -> str:
    """Return a command that runs apt and tries again while another apt holds a lock.

    apt itself waits for the lock of dpkg only. apt-daily, at a cloud image's first boot, holds two others.
    """
    return (
        f'left={APT_TRIES}; until output=$({apt} 2>&1); do case "$output" in '
        "*/var/lib/apt/lists/lock* | */var/cache/apt/archives/lock*) left=$((left - 1)) ;; "  # in every language
        '*) echo "$output" >&2; exit 100 ;; esac; '
        f'[ $left -gt 0 ] || {{ echo "$output" >&2; echo "apt is still locked after {APT_TRIES * APT_PAUSE} s; '
        'find the process that holds the lock, stop it and run this again" >&2; exit 100; }; '
        f'sleep {APT_PAUSE}; done; echo "$output"'
    )


def list_installed(packages: Sequence[str]) -> str:
    """Return the command that prints which of these packages are installed."""
    show = "dpkg-query --show --showformat='${db:Status-Status} ${Package}\\n'"
    return f"{show} -- {shlex.join(sorted(packages))} | sed --quiet 's/^installed //p'"


@operation_with_facts(lambda dest, **_: file_contents(dest))
def write_file(
    facts: HostFacts, dest: str, text: str, mode: str = "644", owner: str = "root:root", check: str = ""
) -> Steps:
    """Write a file as a whole, if its text, mode or owner differ.

    `check` is a command that must accept the new file before it replaces the old one; {} stands for its name:

        write_file(dest="/etc/sudoers.d/x", text=rules, mode="440", check="visudo --check --quiet --file={}")
    """
    current, whole = facts.paths.get(dest), with_final_newline(text)
    if current is None or facts.checksums.get(dest) != sha256(whole):
        if host.state.config.DIFF:
            show_diff(dest, whole)
        yield StringCommand(write_command(dest, mode, owner, check), _stdin=[whole])
    elif (current.mode, current.owner) != (mode, owner):
        yield f"chown {owner} {shlex.quote(dest)} && chmod {mode} {shlex.quote(dest)}"
    else:
        host.noop(f"{dest} is up to date")


@operation_with_facts(lambda path, **_: paths(path))
def ensure_folder(facts: HostFacts, path: str, mode: str = "755", owner: str = "root:root") -> Steps:
    """Create a directory, or set its mode and owner. Its contents stay as they are."""
    current, name = facts.paths.get(path), shlex.quote(path)
    if current and current.is_folder and (current.mode, current.owner) == (mode, owner):
        host.noop(f"{path} is up to date")
        return
    yield f"mkdir --parents {name} && chown {owner} {name} && chmod {mode} {name}"


def with_final_newline(text: str) -> str:
    """Return the text with a newline at its end."""
    return text if text.endswith("\n") else f"{text}\n"


def write_command(dest: str, mode: str, owner: str, check: str = "") -> str:
    """Return a command that writes its stdin to a file, by rename, so that no reader sees half of it."""
    new, folder = shlex.quote(f"{dest}.new"), shlex.quote(str(PurePosixPath(dest).parent))
    checked = f"{{ {check.format(new)} || {{ rm --force {new}; exit 1; }}; }} && " if check else ""
    return (
        f"mkdir --parents {folder} && umask 077 && cat > {new} && chown {owner} {new} && chmod {mode} {new} && "
        f"{checked}mv --no-target-directory {new} {shlex.quote(dest)}"
    )


def show_diff(dest: str, text: str) -> None:
    """Print the difference for --diff."""
    current = [printable_lines(f"{line}\n") for line in host.get_fact(FileContents, path=dest) or []]
    log_message(host, f"{dest}:")
    for line in generate_color_diff(current, printable_lines(text).splitlines(keepends=True)):
        logger.info("  %s", line)


@operation_with_facts(lambda dest, **_: file_contents(dest))
def write_secret_file(facts: HostFacts, dest: str, text: Secret, mode: str = "600", owner: str = "root:root") -> Steps:
    """Write a file with a secret. It travels through stdin, so no output, --diff or process list shows it."""
    current, whole = facts.paths.get(dest), with_final_newline(text.reveal())
    if current and (current.mode, current.owner, facts.checksums.get(dest)) == (mode, owner, sha256(whole)):
        host.noop(f"{dest} is up to date")
        return
    yield FunctionCommand(_write_silently, (write_command(dest, mode, owner), Secret(literal=whole)), {})


def _write_silently(state: State, host: Host, write: str, text: Secret) -> bool:
    ok, output = run_silently(host, write, text.reveal())
    if not ok:
        log_message(host, "\n".join(output))
    return ok


def run_silently(host: Host, command: str, stdin: str = "") -> tuple[bool, list[str]]:
    """Run a command that pyinfra never prints, at any verbosity; return whether it succeeded, and its output.

    The output of a failed command includes its stderr.
    """
    try:
        ok, output = host.run_shell_command(StringCommand(command), _stdin=stdin.splitlines(), **sudo_arguments(host))
    except (OSError, SSHException) as error:
        return False, [f"{host.name} can't be reached: {error}"]
    return ok, output.stdout_lines if ok else output.output_lines


@operation_with_facts(lambda path, **_: paths(path))
def run_unless_exists(facts: HostFacts, path: str, commands: Sequence[str]) -> Steps:
    """Run commands that create `path`, unless it exists."""
    if path not in facts.paths:
        yield from commands


@operation_with_facts(lambda unit, files=(), **_: unit_and_files(unit, files))
def ensure_unit(
    facts: HostFacts, unit: str, files: Sequence[str] = (), verb: str = "restart", oneshot: bool = False
) -> Steps:
    """Enable and start a unit; restart it if one of its files is newer than its start."""
    yield from unit_steps(facts, unit, files, verb, oneshot=oneshot)


def unit_steps(
    facts: HostFacts,
    unit: str,
    files: Sequence[str],
    verb: str,
    *,
    when_stopped: str = "start",
    oneshot: bool = False,
) -> Steps:
    """Yield the commands that enable a unit and start or restart it; none if it is up to date."""
    state = facts.units[unit]
    if state.file_state not in ENABLED_STATES:
        yield f"systemctl enable --quiet {unit}"
    stopped = not (oneshot or state.active or state.condition_failed)
    if stopped or is_outdated(facts, unit, files):
        yield start_command(unit, when_stopped if stopped else verb)
        yield stamp_command(unit)


def start_command(unit: str, verb: str) -> str:
    """Return a command that starts a unit, also after systemd gave it up. If that fails, it prints the journal."""
    return f"systemctl reset-failed {unit} 2>/dev/null; systemctl {verb} {unit} || {{ {journal(unit)}; exit 1; }}"


def journal(unit: str, choice: str = "--lines=15") -> str:
    """Return a command that prints a unit's last lines, or those that options choose, once journald has written them.

    --sync itself waits without a limit, also for a journald that hangs on a full or broken disk.
    """
    warning = "echo 'journald does not answer, so the last lines may be missing:'"
    sync = f"timeout {JOURNAL_PATIENCE} journalctl --sync 2>/dev/null || {warning}"
    return f"{sync}; journalctl --unit={unit} --output=cat --no-pager {choice}"


@operation_with_facts(lambda files, **_: unit_and_files("", files))
def reload_systemd(facts: HostFacts, files: Sequence[str]) -> Steps:
    """Reload systemd if one of these unit files is newer than the last reload."""
    if is_outdated(facts, "", files):
        yield "systemctl daemon-reload"
        yield stamp_command("")


def unit_and_files(unit: str, files: Iterable[str]) -> Questions:
    """Ask for the state of a unit ("" is systemd itself) and of the files that it reads."""
    return unit_states(unit) | paths(stamp_file(unit), *files)


def is_outdated(facts: HostFacts, unit: str, files: Iterable[str]) -> bool:
    """Return whether a file is newer than the unit's start and than the last restart or reload by a deploy."""
    stamp = [facts.paths[stamp_file(unit)].modified] if stamp_file(unit) in facts.paths else []
    last = max([facts.units[unit].started, *stamp])
    return any(facts.paths[file].modified > last for file in files if file in facts.paths)


def stamp_file(unit: str) -> str:
    """Return the file whose time is that of the last restart or reload by a deploy."""
    return f"{STAMP_FOLDER}/{unit or 'systemd'}"


def stamp_command(unit: str) -> str:
    return f"mkdir --parents {STAMP_FOLDER} && touch {stamp_file(unit)}"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
