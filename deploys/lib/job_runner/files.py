"""What a job runner has beside groundcrew itself: environment files, units, secrets; as values."""

from __future__ import annotations

import hashlib
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
from deploys.lib.preflight import DeployError
from inventories import Environment, Repository

USER = "groundcrew"
ETC, HOME, OPT = "/etc/groundcrew", "/var/lib/groundcrew", "/opt/groundcrew"
CREDENTIALS = f"{ETC}/credentials"
CREW = "/usr/local/bin/crew"
UNITS = "/etc/systemd/system"
JOURNAL = "/etc/systemd/journald.conf.d/groundcrew.conf"
# Of stacks: Terraform's own files, and text that they read.
CODE = frozenset([".tf", ".tofu", ".tfvars", ".tftpl", ".tpl", ".json", ".yaml", ".yml", ".sh", ".txt"])
MADE_BY = "Made by: crew schedule export systemd"
HEAD = "# Written by groundcrew; changes made here are overwritten.\n"

PACKAGES = ("age", "postgresql-client", "procps", "python3-venv", "zstd")
NEW_USER = (
    f"getent passwd {USER} >/dev/null || "
    f"useradd --system --user-group --home-dir {HOME} --shell /usr/sbin/nologin {USER}",
    f"install --directory --owner={USER} --group={USER} {HOME}",
)

WRAPPER = f"""\
#!/bin/sh
{HEAD}# Who may read the secrets of scheduled runs (root) has them by hand, too.
[ -n "$CREDENTIALS_DIRECTORY" ] || [ ! -r {CREDENTIALS} ] || export CREDENTIALS_DIRECTORY={CREDENTIALS}
exec {OPT}/current/bin/crew "$@"
"""


@dataclass(frozen=True)
class Placed:
    """A file of a host."""

    text: str
    mode: int = 0o644
    group: str = "root"

    @property
    def told(self) -> str:
        """As FOUND tells it."""
        return f"{self.mode:o} root:{self.group} {hashlib.sha256(self.text.encode()).hexdigest()}"


# Each file that is ours to write and to remove, with its mode and owner, and its hash.
FOUND = (
    f"{{ find {ETC} -type f \\( -name '*.toml' -o -name '*.sql' -o -path '{ETC}/terraform/*' \\) ; "
    f"find {CREDENTIALS} -type f; ls {CREW}; grep -ls '{MADE_BY}' {UNITS}/groundcrew-*; }} "
    '| xargs --no-run-if-empty sh -c \'stat --format="%a %U:%G %n" "$@"; sha256sum "$@"\' sh'
)


def found(lines: list[str]) -> dict[str, str]:
    """What FOUND answered, as Placed tells it, by path."""
    modes, hashes = dict[str, str](), dict[str, str]()
    for line in lines:
        if told := re.fullmatch(r"([0-9a-f]{64})  (.+)", line):
            hashes[told[2]] = told[1]
        elif told := re.fullmatch(r"(\d+ \S+) (.+)", line):
            modes[told[2]] = told[1]
    return {path: f"{modes.get(path, '')} {digest}" for path, digest in hashes.items()}


def faults(given: Mapping[str, Any], named: Sequence[str], variables: Sequence[str]) -> Iterator[str]:
    """What is wrong in the group data, each in a sentence."""
    for name, source in given.items():
        yield from passwords.faults(f"job_runner_secrets: {name}", source)
        inside = name.startswith((f"{ETC}/", f"{HOME}/")) and ".." not in Path(name).parts
        if name.startswith("/") and not inside:
            yield f"job_runner_secrets: {name} is not the deploy's to write; name a file below {ETC} or {HOME}"
        if not name.startswith("/") and name not in variables:
            asked = ", ".join(variables) or "none"
            yield f"job_runner_secrets: no {{ env = {name} }} is in the files of {', '.join(named)}; asked for: {asked}"


def etc(repository: Repository, environments: Sequence[Environment]) -> dict[str, Placed]:
    """The environment files, those they name or copy from, and the stacks if their drift is watched."""
    copies = [copy for environment in environments for copy in environment.refresh.values()]
    names = {*(environment.name for environment in environments), *(copy.source_environment for copy in copies)}
    files = {f"{name}.toml": repository.folder / f"{name}.toml" for name in names}
    files |= {str(copy.sanitise.relative_to(repository.folder)): copy.sanitise for copy in copies}
    if any(environment.drift and environment.drift.check for environment in environments):
        stacks = repository.root / "terraform"
        code = (one for folder in ("stacks", "modules", "environments") for one in (stacks / folder).rglob("*"))
        files |= {f"terraform/{one.relative_to(stacks)}": one for one in code if _is_code(one.relative_to(stacks), one)}
    return {f"{ETC}/{name}": Placed(path.read_text(), 0o640, USER) for name, path in sorted(files.items())}


def _is_code(inside: Path, file: Path) -> bool:
    kept_by_programs = any(part.startswith(".") for part in inside.parent.parts)
    return not kept_by_programs and (file.suffix in CODE or file.name == ".terraform.lock.hcl") and file.is_file()


@cache
def exported(root: Path, environment: str) -> dict[str, str]:
    """Timers and services, by file name: what `crew schedule export systemd` makes of an environment."""
    crew = [sys.executable, "-m", "jobs.cli", "--root", str(root), "schedule", "export", "systemd", environment]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*crew, "--output", folder], check=False, capture_output=True, text=True)
        if done.returncode:
            raise DeployError(f"no timers can be made of {environment}: {done.stderr.strip() or done.stdout.strip()}")
        return {file.name: file.read_text() for file in sorted(Path(folder).iterdir())}


def units(files: Mapping[str, str]) -> dict[str, Placed]:
    return {f"{UNITS}/{name}": Placed(text) for name, text in files.items()}


def timers(files: Mapping[str, str]) -> list[str]:
    return sorted(name for name in files if name.endswith(".timer"))


def variables(files: Mapping[str, str]) -> list[str]:
    """The names of the secrets that units want as credentials."""
    return sorted({name for text in files.values() for name in re.findall(r"^LoadCredential=(\w+):", text, re.M)})


def journal(size: str) -> str:
    """Kept over a restart of the host, so that the log of last night's run is there, and no bigger than this."""
    return f"{HEAD}[Journal]\nStorage=persistent\nSystemMaxUse={size}\n"


def folders(environments: Sequence[Environment]) -> list[str]:
    """Stores that are folders of the host, outside of the service's own."""
    addresses = [urlsplit(environment.store.url) for environment in environments if environment.store]
    paths = {Path(address.path) for address in addresses if address.scheme == "file"}
    return sorted(str(path) for path in paths if path != Path(HOME) and Path(HOME) not in path.parents)


def packed(files: Mapping[str, Placed]) -> bytes:
    """Files as one archive, to be put into place at once."""
    into = BytesIO()
    with tarfile.open(fileobj=into, mode="w") as archive:
        for path, file in sorted(files.items()):
            content = file.text.encode()
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode, member.uname, member.gname = len(content), file.mode, "root", file.group
            archive.addfile(member, BytesIO(content))
    return into.getvalue()


_HOLD_TIMERS = f"""\
set -eu
umask 022
timers() {{ cd {UNITS} && grep -ls '{MADE_BY}' groundcrew-*.timer || true; }}
go_on() {{ for each in $(timers); do systemctl enable --quiet --now "$each"; done; }}
trap go_on EXIT
trap 'exit 1' TERM
for each in $(timers); do systemctl stop "$each"; done
"""
_WAIT = """\
end=$(($(date +%s) + {limit}))
while busy=$(systemctl list-units --plain --no-legend --state=activating,deactivating 'groundcrew-*.service' \
| cut -d' ' -f1 | xargs) && [ -n "$busy" ]; do
  if [ $(date +%s) -ge $end ]; then
    echo "$busy still runs after {limit} s, and nothing changes under it: wait for its end, or give job_runner_wait" >&2
    exit 1
  fi
  sleep 1
done
"""


def switch(release: str, stale: Sequence[str], limit: int) -> str:
    """A script of the host's own: no run begins, those that are under way end, all is switched, and timers go on.

    They go on whatever stops it.
    """
    gone = [f"systemctl disable --quiet {Path(each).name}\n" for each in stale if each.endswith(".timer")]
    gone += [f"rm --force {shlex.join(stale)}\n"] if stale else []
    return (
        f"{_HOLD_TIMERS}{_WAIT.format(limit=limit)}"
        f"tar --extract --directory=/ --no-overwrite-dir --file={OPT}/next.tar\n{''.join(gone)}"
        f"cd {OPT} && ln --symbolic --force --no-dereference {release} new && mv --no-target-directory new current\n"
        "systemctl daemon-reload\n"
        f"for old in $(ls | grep -E '^[0-9a-f]{{12}}$' | grep -v {release}); do\n"
        f'  pgrep --full "^{OPT}/$old/" >/dev/null || rm --recursive --force "$old"\ndone\n'
    )


def removal(files: Sequence[Path], stores: Sequence[str], limit: int) -> str:
    """A script that takes away all that this deploy made; what runs have written (a store) stays, with its owner."""
    return (
        f"{_HOLD_TIMERS}{_WAIT.format(limit=limit)}trap - EXIT\n"
        "for each in $(timers); do\n"
        "  systemctl disable --quiet $each; rm --force /var/lib/systemd/timers/stamp-$each\ndone\n"
        f"cd {UNITS}; grep -ls '{MADE_BY}' groundcrew-* | xargs --no-run-if-empty rm --force\n"
        "systemctl daemon-reload; systemctl reset-failed 'groundcrew-*' 2>/dev/null || true\n"
        f"rm --force {shlex.join([CREW, *map(str, files)])}\n"
        f"rm --recursive --force {ETC} {OPT} {HOME}/.cache\n"
        f"if [ -e {JOURNAL} ]; then rm {JOURNAL}; systemctl restart systemd-journald; fi\n"
        f"find {HOME} -mindepth 1 -type d -empty -delete 2>/dev/null || true\n"
        f"rmdir {HOME} 2>/dev/null || true\n"
        f"ls --directory {shlex.join([HOME, *stores])} 2>/dev/null | grep --quiet . || userdel {USER} || true\n"
    )
