"""Operations that several deploys are made of. Each looks again when it runs, so a run that died half-way is mended."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Generator, Iterable, Sequence
from pathlib import PurePosixPath
from typing import TypeAlias

from paramiko import SSHException
from pyinfra import host, logger
from pyinfra.api import FactBase, FileUploadCommand, FunctionCommand, Host, State, StringCommand
from pyinfra.facts.files import FileContents
from pyinfra.operations.util.files import generate_color_diff

from deploys.lib.facts import Asked, HostFacts, as_root, contents, looking, paths, printed, units
from inventories import Secret, redact

Steps: TypeAlias = Generator[str | StringCommand | FileUploadCommand | FunctionCommand]

STARTS_BY_ITSELF = {"enabled", "enabled-runtime", "static", "alias", "generated"}
STAMPS = "/run/groundcrew"
APT = (
    "DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet --no-install-recommends "
    "-o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300"
)
APT_TRIES, APT_PAUSE = 150, 2  # seconds; five minutes, as for the lock of dpkg


class Lines(FactBase[list[str]]):
    """What a command prints; nothing if it fails."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, asked: str) -> str:
        return f"({asked}) 2>/dev/null || true"

    def process(self, output: list[str]) -> list[str]:
        return output


@looking(lambda packages, **_: printed(_installed(packages)))
def packages_are_there(seen: HostFacts, packages: Sequence[str]) -> Steps:
    """Install what is missing, and nothing that is only recommended."""
    missing = sorted(set(packages) - set(seen.printed[_installed(packages)]))
    if not missing:
        host.noop("all packages are there")
        return
    yield patient(f"{APT} update")
    yield patient(f"{APT} install {shlex.join(missing)}")


def patient(apt: str) -> str:
    """apt waits by itself for the lock of dpkg alone: apt-daily, at a cloud image's first boot, has others."""
    return (
        f'left={APT_TRIES}; until said=$({apt} 2>&1); do case "$said" in '
        "*/var/lib/apt/lists/lock* | */var/cache/apt/archives/lock*) left=$((left - 1)) ;; "  # in any language
        '*) echo "$said" >&2; exit 100 ;; esac; '
        f'[ $left -gt 0 ] || {{ echo "$said" >&2; echo "that lock was not to be had for {APT_TRIES * APT_PAUSE} s; '
        'see what has it, end that, and run this again" >&2; exit 100; }; '
        f'sleep {APT_PAUSE}; done; echo "$said"'
    )


def _installed(packages: Sequence[str]) -> str:
    show = "dpkg-query --show --showformat='${db:Status-Status} ${Package}\\n'"
    return f"{show} -- {shlex.join(sorted(packages))} | sed --quiet 's/^installed //p'"


@looking(lambda dest, **_: contents(dest))
def file(seen: HostFacts, dest: str, text: str, mode: str = "644", owner: str = "root:root", check: str = "") -> Steps:
    """A file with this text, replaced whole or not at all: where `check` is given, only if that program finds the
    new one, named {}, right."""
    there, whole = seen.things.get(dest), ended(text)
    if there is None or seen.sums.get(dest) != sha256(whole):
        if host.state.config.DIFF:
            show_difference(dest, whole)
        yield StringCommand(written(dest, mode, owner, check), _stdin=[whole])
    elif (there.mode, there.owner) != (mode, owner):
        yield f"chown {owner} {shlex.quote(dest)} && chmod {mode} {shlex.quote(dest)}"
    else:
        host.noop(f"{dest} is as it should be")


@looking(lambda path, **_: paths(path))
def folder(seen: HostFacts, path: str, mode: str = "755", owner: str = "root:root") -> Steps:
    """A folder is there; what is in it is left alone."""
    there, name = seen.things.get(path), shlex.quote(path)
    if there and there.is_folder and (there.mode, there.owner) == (mode, owner):
        host.noop(f"{path} is as it should be")
        return
    yield f"mkdir --parents {name} && chown {owner} {name} && chmod {mode} {name}"


def ended(text: str) -> str:
    """A text file ends with the end of a line."""
    return text if text.endswith("\n") else f"{text}\n"


def written(dest: str, mode: str, owner: str, check: str = "") -> str:
    """Writes stdin to a file that nobody sees half of."""
    new, folder = shlex.quote(f"{dest}.new"), shlex.quote(str(PurePosixPath(dest).parent))
    right = f"{{ {check.format(new)} || {{ rm --force {new}; exit 1; }}; }} && " if check else ""
    return (
        f"mkdir --parents {folder} && umask 077 && cat > {new} && chown {owner} {new} && chmod {mode} {new} && "
        f"{right}mv --no-target-directory {new} {shlex.quote(dest)}"
    )


def show_difference(dest: str, text: str) -> None:
    """What --diff is to show."""
    there = [f"{line}\n" for line in host.get_fact(FileContents, path=dest) or []]
    host.log(f"{dest}:")
    for line in generate_color_diff(there, text.splitlines(keepends=True)):
        logger.info("  %s", line)


@looking(lambda dest, **_: contents(dest))
def secret_file(seen: HostFacts, dest: str, text: Secret, mode: str = "600", owner: str = "root:root") -> Steps:
    """Write what nobody else may read: through stdin, so that no output, --diff or process list has it."""
    there, whole = seen.things.get(dest), ended(text.reveal())
    if there and (there.mode, there.owner, seen.sums.get(dest)) == (mode, owner, sha256(whole)):
        host.noop(f"{dest} is as it should be")
        return
    yield FunctionCommand(_write_silently, (written(dest, mode, owner), Secret(literal=whole)), {})


def _write_silently(state: State, host: Host, write: str, text: Secret) -> bool:
    told, printed = quietly(host, write, text.reveal())
    if not told:
        host.log(redact("\n".join(printed)))
    return told


def quietly(host: Host, command: str, stdin: str = "") -> tuple[bool, list[str]]:
    """Run a command of which nothing shows, at any verbosity: whether it did well, and what it printed.

    Of one that failed also what it said on stderr.
    """
    try:
        told, output = host.run_shell_command(StringCommand(command), _stdin=stdin.splitlines(), **as_root(host))
    except (OSError, SSHException) as error:
        return False, [f"{host.name} can't be reached: {error}"]
    return told, output.stdout_lines if told else output.output_lines


@looking(lambda path, **_: paths(path))
def made_once(seen: HostFacts, path: str, commands: Sequence[str]) -> Steps:
    """Run commands where what they make is not there yet."""
    if path not in seen.things:
        yield from commands


@looking(lambda unit, files=(), **_: of_unit(unit, files))
def current(
    seen: HostFacts, unit: str, files: Sequence[str] = (), verb: str = "restart", oneshot: bool = False
) -> Steps:
    """A unit is enabled and runs with the files that are there: restarted when one is newer than its start."""
    yield from brought_up(seen, unit, files, verb, oneshot=oneshot)


def brought_up(
    seen: HostFacts, unit: str, files: Sequence[str], verb: str, *, when_stopped: str = "start", oneshot: bool = False
) -> Steps:
    there = seen.units[unit]
    if there.starts not in STARTS_BY_ITSELF:
        yield f"systemctl enable --quiet {unit}"
    stopped = not (oneshot or there.active or there.unfit)
    if stopped or is_older(seen, unit, files):
        yield started(unit, when_stopped if stopped else verb)
        yield stamped(unit)


def started(unit: str, verb: str) -> str:
    """Starts a unit, also one that systemd has given up after failures; says why, if it does not start."""
    journal = f"journalctl --unit={unit} --lines=8 --no-pager --output=cat"
    return f"systemctl reset-failed {unit} 2>/dev/null; systemctl {verb} {unit} || {{ {journal}; exit 1; }}"


@looking(lambda files, **_: of_unit("", files))
def units_are_read(seen: HostFacts, files: Sequence[str]) -> Steps:
    """systemd has read unit files as they are now."""
    if is_older(seen, "", files):
        yield "systemctl daemon-reload"
        yield stamped("")


def of_unit(unit: str, files: Iterable[str]) -> Asked:
    """What has to be known of a unit, or of systemd itself, and the files that it reads."""
    return units(unit) | paths(stamp_file(unit), *files)


def is_older(seen: HostFacts, unit: str, files: Iterable[str]) -> bool:
    """Whether a file was written after a unit started and after we last told it of its files."""
    told = [seen.things[stamp_file(unit)].written] if stamp_file(unit) in seen.things else []
    last = max([seen.units[unit].started, *told])
    return any(seen.things[file].written > last for file in files if file in seen.things)


def stamp_file(unit: str) -> str:
    return f"{STAMPS}/{unit or 'systemd'}"


def stamped(unit: str) -> str:
    return f"mkdir --parents {STAMPS} && touch {stamp_file(unit)}"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
