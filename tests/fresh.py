"""`make test-fresh`: run make targets on fresh minimal systems that have nothing but python3, make and git.

    make test-fresh                                             # all systems: setup, demo, test-unit
    make test-fresh ARGS="debian-13 --targets setup test"       # one system, other targets
    make test-fresh ARGS="debian-13 --targets 'test ARGS=-v'"   # with an argument

Each system is made with debootstrap in .cache/fresh and entered with pivot_root. The last commit is cloned into it. It
uses the resolver, the certificates and the settings for apt, pip and npm of this machine. What pip and npm download is
kept for the next run, which starts with a new system.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import machine

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "fresh"
CHECKOUT = "/root/groundcrew"
PROGRAMS = "ca-certificates,git,make,python3"
TARGETS = ("setup", "demo", "test-unit")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PIP = ("index-url", "proxy", "trusted-host")
NPM = ("registry", "proxy", "https-proxy")


@dataclass(frozen=True)
class System:
    """A release of a distribution, and where its packages come from."""

    name: str
    suite: str
    components: str = "main"
    mirror: str = ""  # default: the mirror of this machine's apt

    def debootstrap(self, folder: Path, mirror: str) -> list[str]:
        """The command that makes the system."""
        options = ["--variant=minbase", f"--components={self.components}", f"--include={PROGRAMS}"]
        if not self.mirror:
            return ["debootstrap", *options, self.suite, str(folder), mirror]
        # Debian has neither Ubuntu's keys nor a script for each of its releases. gutsy's script serves them all.
        script = "/usr/share/debootstrap/scripts/gutsy"
        return ["debootstrap", "--no-check-gpg", *options, self.suite, str(folder), mirror, script]

    def sources(self, mirror: str, security: str) -> str:
        """The lines for sources.list."""
        components = self.components.replace(",", " ")
        lines = [(mirror, self.suite), (mirror, f"{self.suite}-updates"), (security, f"{self.suite}-security")]
        option = "[trusted=yes] " if self.mirror else ""
        return "".join(f"deb {option}{address} {suite} {components}\n" for address, suite in lines)


SYSTEMS = {
    system.name: system
    for system in (
        System("debian-12", "bookworm"),
        System("debian-13", "trixie"),
        System("ubuntu-24.04", "noble", "main,universe", "http://archive.ubuntu.com/ubuntu"),
    )
}


@dataclass(frozen=True)
class Result:
    """How one target ended on one system."""

    system: str
    target: str
    seconds: float
    outcome: str


def table(results: list[Result]) -> str:
    """The results as aligned lines."""
    rows = [("system", "target", "seconds", "result")]
    rows += [(one.system, one.target, f"{one.seconds:.0f}", one.outcome) for one in results]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in rows)


def pip_settings(listed: str) -> dict[str, str]:
    """Environment variables from the lines of `pip config list` that say where packages come from."""
    found = {}
    for line in listed.splitlines():
        key, _, quoted = line.partition("=")
        name = key.rpartition(".")[2]
        if name in PIP:
            found[f"PIP_{name.upper().replace('-', '_')}"] = quoted.strip("'\"")
    return found


def settings() -> dict[str, str]:
    """The environment variables with which pip, npm and git reach on a system what they reach on this machine."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = pip_settings(listed)
    if npm := shutil.which("npm"):
        for name in NPM:
            setting = subprocess.run([npm, "config", "get", name], capture_output=True, text=True, check=False).stdout
            if setting.strip() not in {"", "null", "undefined"}:
                found[f"npm_config_{name.replace('-', '_')}"] = setting.strip()
    found |= {name: value for name, value in os.environ.items() if name.lower() in {"http_proxy", "https_proxy"}}
    # pip and Node.js do not use the certificates of the system by themselves.
    own = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
    return found | dict.fromkeys(own, CERTIFICATES)


def make_system(system: System, folder: Path) -> str:
    """Make the system in an empty folder. Return why not, or nothing."""
    apt = machine.apt()
    mirror = system.mirror or apt.mirror
    try:
        urllib.request.urlopen(f"{mirror.rstrip('/')}/dists/{system.suite}/Release", timeout=20).close()
    except OSError as error:
        return f"not run: its archive {mirror} cannot be reached from here ({error})"
    packages = CACHE / f"{system.name}-packages"
    packages.mkdir(parents=True, exist_ok=True)
    argv = system.debootstrap(folder, mirror)
    argv.insert(1, f"--cache-dir={packages}")
    made = subprocess.run(["unshare", "--mount", *argv], capture_output=True, text=True, check=False)
    if made.returncode:
        return "not run: debootstrap failed: " + made.stdout.strip().splitlines()[-1]
    security = system.mirror or apt.security
    (folder / "etc/apt/sources.list").write_text(system.sources(mirror, security))
    (folder / "etc/apt/apt.conf.d/90machine").write_text(apt.settings)
    (folder / "etc/resolv.conf").unlink(missing_ok=True)
    (folder / "etc/resolv.conf").write_text(machine.resolvers())
    if machine.HOST_CERTIFICATES.exists():
        shutil.copytree(machine.HOST_CERTIFICATES, folder / "usr/local/share/ca-certificates", dirs_exist_ok=True)
    subprocess.run(["chroot", str(folder), "update-ca-certificates"], capture_output=True, check=True)
    subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), f"{folder}{CHECKOUT}"], check=True)
    return ""


# In a mount namespace of its own, so that every mount is gone with the last process, and in a PID namespace, so that no
# process stays. With chroot alone, the kernel would refuse user namespaces, in which verifications run.
_ENTER = """set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mkdir -p "$1/root/.cache"
mount --bind "$2" "$1/root/.cache"
cd "$1"
pivot_root . mnt
exec chroot . /bin/sh -c "umount --lazy /mnt; cd $3; exec make $4"
"""


def run(folder: Path, target: str, variables: Mapping[str, str], log: Path) -> bool:
    """Run a make target on the system. Its output goes into a file."""
    (CACHE / "downloads").mkdir(exist_ok=True)
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _ENTER, "sh"]
    own = {
        "HOME": "/root",
        "npm_config_cache": "/root/.cache/npm",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    with log.open("w") as output:
        ended = subprocess.run(
            [*enter, folder, CACHE / "downloads", CHECKOUT, target],
            env={**variables, **own},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return ended.returncode == 0


@contextmanager
def fresh_folder(name: str) -> Iterator[Path]:
    """A new folder for a system, removed afterwards."""
    folder = CACHE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_system(system: System, targets: list[str]) -> Iterator[Result]:
    """Make a system and run the targets on it, up to the first that fails."""
    with fresh_folder(system.name) as folder:
        print(f"{system.name}: making it with {PROGRAMS.replace(',', ', ')}", flush=True)
        if fault := make_system(system, folder):
            yield Result(system.name, "-", 0, fault)
            return
        variables = settings()
        for target in targets:
            log = CACHE / log_name(system.name, target)
            print(f"{system.name}: make {target} (output: {log.relative_to(ROOT)})", flush=True)
            began = time.monotonic()
            passed = run(folder, target, variables, log)
            closing = _closing_line(log)
            seconds = time.monotonic() - began
            yield Result(system.name, f"make {target}", seconds, ("passed" if passed else "FAILED") + closing)
            if not passed:
                print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
                return


def log_name(system: str, target: str) -> str:
    """The name of a file for the output of a target, which can have arguments."""
    return "-".join([system, *re.findall(r"[\w.]+", target)]) + ".log"


def _closing_line(log: Path) -> str:
    """pytest's last line, if there is one."""
    lines = [line.strip("= ") for line in log.read_text(errors="replace").splitlines() if line.startswith("=")]
    closing = [line for line in lines if " passed" in line or " failed" in line]
    return f": {closing[-1]}" if closing else ""


def main() -> None:
    arguments = argparse.ArgumentParser(prog="make test-fresh")
    arguments.add_argument("systems", nargs="*", default=list(SYSTEMS), help=f"default: {' '.join(SYSTEMS)}")
    arguments.add_argument("--targets", nargs="+", default=list(TARGETS), help=f"default: {' '.join(TARGETS)}")
    chosen = arguments.parse_args()
    if unknown := sorted(set(chosen.systems) - set(SYSTEMS)):
        sys.exit(f"unknown system {', '.join(unknown)}. Choose from: {', '.join(SYSTEMS)}")
    if os.geteuid() != 0:
        sys.exit("make test-fresh needs root: it makes systems with debootstrap and enters them")
    results = [result for name in chosen.systems for result in try_system(SYSTEMS[name], chosen.targets)]
    print(table(results))
    if any(result.outcome.startswith("FAILED") for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
