"""`make test-steady`: all tests three times in a row, while two busy loops use the processor as well."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = 3
LOOPS = 2


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Processes that do nothing but use a core each."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for loop in running:
            loop.kill()
            loop.wait()


def main() -> None:
    with busy(LOOPS):
        for number in range(1, RUNS + 1):
            began = time.monotonic()
            code = subprocess.run(["make", "--no-print-directory", "test-all"], cwd=ROOT, check=False).returncode
            minutes = (time.monotonic() - began) / 60
            if code:
                sys.exit(f"run {number} of {RUNS} failed after {minutes:.1f} min")
            print(f"run {number} of {RUNS} passed in {minutes:.1f} min", flush=True)


if __name__ == "__main__":
    main()
