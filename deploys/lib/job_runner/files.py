"""The files and scripts of a job runner, as values: environment files, units, timers."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploys.lib import passwords
from deploys.lib.header import HEADER
from deploys.lib.host.base import JOURNAL, KERNEL
from deploys.lib.preflight import DeployError
from inventories import Environment, Repository

USER = "groundcrew"
ETC, HOME, OPT = "/etc/groundcrew", "/var/lib/groundcrew", "/opt/groundcrew"
CREDENTIALS = f"{ETC}/credentials"
CREW = "/usr/local/bin/crew"
UNITS = "/etc/systemd/system"
# The files of stacks to copy: Terraform's own, and text files that they read.
STACK_SUFFIXES = frozenset([".tf", ".tofu", ".tfvars", ".tftpl", ".tpl", ".json", ".yaml", ".yml", ".sh", ".txt"])
EXPORT_MARK = "Made by: crew schedule export systemd"

PACKAGES = ("age", "bubblewrap", "postgresql-client", "procps", "python3-venv", "zstd")
CREATE_USER = (
    f"getent passwd {USER} >/dev/null || "
    f"useradd --system --user-group --home-dir {HOME} --shell /usr/sbin/nologin {USER}",
    f"install --directory --owner={USER} --group={USER} {HOME}",
)

WRAPPER = f"""\
#!/bin/sh
{HEADER}# For root, which can read the secrets, a manual run gets the secrets of scheduled runs.
[ -n "$CREDENTIALS_DIRECTORY" ] || [ ! -r {CREDENTIALS} ] || export CREDENTIALS_DIRECTORY={CREDENTIALS}
exec {OPT}/current/bin/crew "$@"
"""


@dataclass(frozen=True)
class ManagedFile:
    """A file that the deploy writes."""

    text: str
    mode: int = 0o644
    group: str = "root"

    @property
    def fingerprint(self) -> str:
        """Mode, owner and hash, to compare with the file on the host."""
        return f"{self.mode:o} root:{self.group} {hashlib.sha256(self.text.encode()).hexdigest()}"


# Print mode, owner and hash of each file that the deploy writes or removes.
LIST_MANAGED_FILES = (
    f"{{ find {ETC} -type f \\( -name '*.toml' -o -name '*.sql' -o -path '{ETC}/terraform/*' "
    f"-o -path '{ETC}/hosts/*' \\) ; "
    f"find {CREDENTIALS} -type f; ls {CREW}; grep -ls '{EXPORT_MARK}' {UNITS}/groundcrew-*; }} "
    '| xargs --no-run-if-empty sh -c \'stat --format="%a %U:%G %n" "$@"; sha256sum "$@"\' sh'
)


def parse_managed_files(lines: list[str]) -> dict[str, str]:
    """Return the fingerprint of each file by path, from the output of LIST_MANAGED_FILES."""
    modes, hashes = dict[str, str](), dict[str, str]()
    for line in lines:
        if match := re.fullmatch(r"([0-9a-f]{64})  (.+)", line):
            hashes[match[2]] = match[1]
        elif match := re.fullmatch(r"(\d+ \S+) (.+)", line):
            modes[match[2]] = match[1]
    return {path: f"{modes.get(path, '')} {digest}" for path, digest in hashes.items()}


def faults(given: Mapping[str, Any], environments: Sequence[str], secrets: Sequence[str]) -> Iterator[str]:
    """Yield each fault in job_runner_secrets; `secrets` are the names that the environment files use."""
    for name, source in given.items():
        yield from passwords.faults(f"job_runner_secrets: {name}", source)
        is_allowed_path = name.startswith((f"{ETC}/", f"{HOME}/")) and ".." not in Path(name).parts
        if name.startswith("/") and not is_allowed_path:
            yield f"job_runner_secrets: {name} is outside of {ETC} and {HOME}; use a path below one of them"
        if not name.startswith("/") and name not in secrets:
            used = ", ".join(secrets) or "none"
            yield (
                f"job_runner_secrets: {', '.join(environments)} has no secret {{ env = {name} }} (it has: {used}); "
                "correct the name, or remove it"
            )


def configuration_files(repository: Repository, environments: Sequence[Environment]) -> dict[str, ManagedFile]:
    """Return the environment files, the scripts that they name, and what their scheduled drift checks compare."""
    copies = [copy for environment in environments for copy in environment.refresh.values()]
    names = {*(environment.name for environment in environments), *(copy.source_environment for copy in copies)}
    files = {f"{name}.toml": repository.folder / f"{name}.toml" for name in names}
    scripts = [copy.sanitise for copy in copies]
    for environment in environments:
        sources = [*environment.servers.values(), *environment.databases.values()]
        scripts += [source.verify_with for source in sources if source.verify_with is not None]
        scripts += [script for stanza in environment.pitr.values() for script in stanza.verify_with.values()]
    files |= {str(script.relative_to(repository.folder)): script for script in scripts}
    if any(environment.drift and environment.drift.check for environment in environments):
        stacks = repository.root / "terraform"
        code = (file for folder in ("stacks", "modules", "environments") for file in (stacks / folder).rglob("*"))
        files |= {
            f"terraform/{file.relative_to(stacks)}": file
            for file in code
            if _is_stack_file(file.relative_to(stacks), file)
        }
    files |= {f"hosts/{name}": file for name, file in _host_files(repository.folder, environments).items()}
    return {f"{ETC}/{name}": ManagedFile(path.read_text(), 0o640, USER) for name, path in sorted(files.items())}


def _host_files(folder: Path, environments: Sequence[Environment]) -> dict[str, Path]:
    """Return the inventories, group data and public keys of hosts that scheduled jobs compare with their deploys."""
    compared = {each.name: each.hosts for each in environments if each.hosts and each.hosts.check}
    keys = [each.known_hosts for each in compared.values() if each.known_hosts]
    data = folder.glob("group_data/*.py") if compared else ()
    files = [*(folder / name for name in compared), *data, *(file for file in keys if file.is_relative_to(folder))]
    return {str(file.relative_to(folder)): file for file in files}


def _is_stack_file(relative: Path, file: Path) -> bool:
    in_hidden_folder = any(part.startswith(".") for part in relative.parent.parts)
    return (
        not in_hidden_folder
        and (file.suffix in STACK_SUFFIXES or file.name == ".terraform.lock.hcl")
        and file.is_file()
    )


@cache
def export_units(root: Path, environment: str) -> dict[str, str]:
    """Return the timers and services that `crew schedule export systemd` writes for an environment, by file name."""
    crew = [sys.executable, "-m", "jobs.cli", "--root", str(root), "schedule", "export", "systemd", environment]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*crew, "--output", folder], check=False, capture_output=True, text=True)
        if done.returncode:
            raise DeployError(
                f"exporting the timers of {environment} failed: {done.stderr.strip() or done.stdout.strip()}"
            )
        return {file.name: file.read_text() for file in sorted(Path(folder).iterdir())}


def unit_files(files: Mapping[str, str]) -> dict[str, ManagedFile]:
    """Return the exported units as files of the host."""
    return {f"{UNITS}/{name}": ManagedFile(text) for name, text in files.items()}


def timer_names(files: Mapping[str, str]) -> list[str]:
    return sorted(name for name in files if name.endswith(".timer"))


def secret_names(files: Mapping[str, str]) -> list[str]:
    """Return the names of the secrets that the units load as credentials."""
    return sorted({name for text in files.values() for name in re.findall(r"^LoadCredential=(\w+):", text, re.M)})


def store_folders(environments: Sequence[Environment]) -> list[str]:
    """Return the directories of stores on the host that are not in the service user's home."""
    addresses = [urlsplit(environment.store.url) for environment in environments if environment.store]
    paths = {Path(address.path) for address in addresses if address.scheme == "file"}
    return sorted(str(path) for path in paths if path != Path(HOME) and Path(HOME) not in path.parents)


def store_marks(environments: Sequence[Environment]) -> dict[str, list[str]]:
    """Return the mark of each environment's store in a directory, and the commands that make both.

    A job refuses a store without it: its disk could be missing. `crew check --create` marks a bucket.
    """
    marks = {}
    for environment in environments:
        address = urlsplit(environment.store.url if environment.store else "")
        if address.scheme == "file":
            folder = Path(address.path, environment.name)
            mark = folder / "groundcrew.json"
            body = json.dumps({"format": 1, "environment": environment.name})
            script = f"mkdir -p {shlex.quote(str(folder))} && printf %s {shlex.quote(body)} > {shlex.quote(str(mark))}"
            marks[str(mark)] = [f"runuser -u {USER} -- sh -c {shlex.quote('umask 077; ' + script)}"]
    return marks


def as_archive(files: Mapping[str, ManagedFile]) -> bytes:
    """Return the files as one tar archive."""
    into = BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        for path, file in sorted(files.items()):
            content = file.text.encode()
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode, member.uname, member.gname = len(content), file.mode, "root", file.group
            archive.addfile(member, BytesIO(content))
    return into.getvalue()


_PAUSE_TIMERS = f"""\
set -eu
umask 022
timers() {{ cd {UNITS} && grep -ls '{EXPORT_MARK}' groundcrew-*.timer || true; }}
resume_timers() {{ for each in $(timers); do systemctl enable --quiet --now "$each"; done; }}
trap resume_timers EXIT
trap 'exit 1' TERM
for each in $(timers); do systemctl stop "$each"; done
"""
_WAIT_FOR_RUNS = """\
end=$(($(date +%s) + {limit}))
while busy=$(systemctl list-units --plain --no-legend --state=activating,deactivating 'groundcrew-*.service' \
| cut -d' ' -f1 | xargs) && [ -n "$busy" ]; do
  if [ $(date +%s) -ge $end ]; then
    echo "$busy still runs after {limit} s, so nothing was changed; wait for its end, or raise job_runner_wait" >&2
    exit 1
  fi
  sleep 1
done
"""


def switch_script(release: str, stale: Sequence[str], limit: int) -> str:
    """Return the script that activates a release between runs.

    It pauses the timers, waits until no run is active, replaces the files and resumes the timers. It resumes them also
    if it is interrupted.
    """
    remove = [f"systemctl disable --quiet {Path(each).name}\n" for each in stale if each.endswith(".timer")]
    remove += [f"rm --force {shlex.join(stale)}\n"] if stale else []
    return (
        f"{_PAUSE_TIMERS}{_WAIT_FOR_RUNS.format(limit=limit)}"
        f"tar --extract --directory=/ --no-overwrite-dir --file={OPT}/next.tar\n{''.join(remove)}"
        f"cd {OPT} && ln --symbolic --force --no-dereference {release} new && mv --no-target-directory new current\n"
        "systemctl daemon-reload\n"
        f"for old in $(ls | grep -E '^[0-9a-f]{{12}}$' | grep -v {release}); do\n"
        f'  pgrep --full "^{OPT}/$old/" >/dev/null || rm --recursive --force "$old"\ndone\n'
    )


def removal_script(files: Sequence[Path], stores: Sequence[str], limit: int) -> str:
    """Return the script that removes all that this deploy installed, except a store and the user that owns it."""
    return (
        f"{_PAUSE_TIMERS}{_WAIT_FOR_RUNS.format(limit=limit)}trap - EXIT\n"
        "for each in $(timers); do\n"
        "  systemctl disable --quiet $each; rm --force /var/lib/systemd/timers/stamp-$each\ndone\n"
        f"cd {UNITS}; grep -ls '{EXPORT_MARK}' groundcrew-* | xargs --no-run-if-empty rm --force\n"
        "systemctl daemon-reload; systemctl reset-failed 'groundcrew-*' 2>/dev/null || true\n"
        f"rm --force {shlex.join([CREW, *map(str, files)])}\n"
        f"rm --recursive --force {ETC} {OPT} {HOME}/.cache\n"
        f"if [ -e {JOURNAL} ] && [ ! -e {KERNEL} ]; then rm {JOURNAL}; systemctl restart systemd-journald; fi\n"
        f"find {HOME} -mindepth 1 -type d -empty -delete 2>/dev/null || true\n"
        f"rmdir {HOME} 2>/dev/null || true\n"
        f"ls --directory {shlex.join([HOME, *stores])} 2>/dev/null | grep --quiet . || userdel {USER} || true\n"
    )
