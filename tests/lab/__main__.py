"""`make lab` and `make lab-down`: hosts to try deploys on by hand."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.lab import lab, rootfs
from tests.lab.machine import LabCannotRun

NOW = rootfs.CACHE / "now"


def main() -> None:
    reads = argparse.ArgumentParser(prog="python -m tests.lab")
    chosen = reads.add_subparsers(dest="command", required=True)
    comes = chosen.add_parser("up")
    comes.add_argument("hosts", type=int, nargs="?", default=1)
    comes.add_argument("--debian", type=int, choices=sorted(rootfs.RELEASES), default=12)
    goes = chosen.add_parser("down")
    goes.add_argument("folder", type=Path, nargs="?", default=NOW)
    told = reads.parse_args()
    try:
        _up(told.hosts, told.debian) if told.command == "up" else lab.down(told.folder)
    except LabCannotRun as fault:
        sys.exit(f"lab: {fault}")


def _up(count: int, debian: int) -> None:
    lab.down(NOW)
    began = time.monotonic()
    there = lab.up(NOW, count, debian)
    print(f"{count} hosts of Debian {debian}, up in {time.monotonic() - began:.0f} s:")
    for host in there.hosts:
        print(f"  {host.address}  ssh -F {there.home.relative_to(Path.cwd())}/.ssh/lab_config {host.name}")
    print("Try a deploy: pyinfra inventories/lab deploys/dev_server.py\nTake them down: make lab-down")


if __name__ == "__main__":
    main()
