"""`make lab` and `make lab-down`: hosts to try deploys on by hand."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from jobs.format import plural
from tests.lab import lab, rootfs
from tests.lab.machine import LabCannotRun

NOW = rootfs.CACHE / "now"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up")
    up.add_argument("hosts", type=int, nargs="?", default=1)
    up.add_argument("--debian", type=int, choices=sorted(rootfs.RELEASES), default=12)
    down = commands.add_parser("down")
    down.add_argument("folder", type=Path, nargs="?", default=NOW)
    arguments = parser.parse_args()
    try:
        _up(arguments.hosts, arguments.debian) if arguments.command == "up" else lab.down(arguments.folder)
    except LabCannotRun as fault:
        sys.exit(f"lab: {fault}")


def _up(count: int, debian: int) -> None:
    lab.down(NOW)
    began = time.monotonic()
    booted = lab.up(NOW, count, debian)
    print(f"{plural(count, 'host')} of Debian {debian}, up in {time.monotonic() - began:.0f} s:")
    for host in booted.hosts:
        print(f"  {host.address}  ssh -F {booted.home.relative_to(Path.cwd())}/.ssh/lab_config {host.name}")
    print("Try a deploy: pyinfra inventories/lab deploys/dev_server.py\nTake them down: make lab-down")


if __name__ == "__main__":
    main()
