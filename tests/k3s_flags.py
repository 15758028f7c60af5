"""The flags of a K3s release, for deploys/lib/k3s/flags.json.

`make k3s-flags K3S=/usr/local/bin/k3s` writes that file from the help of the program. The deploys check keys of
config.yaml against it, and the tests' stand-in refuses all others.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).parents[1] / "deploys/lib/k3s/flags.json"


def flags_of(help_text: str) -> list[str]:
    """Return the long names of the options in the help of `k3s server` or `k3s agent`."""
    options = (re.split(" {2,}", line.strip())[0] for line in help_text.splitlines() if line.strip().startswith("-"))
    names = {name for option in options for name in re.findall(r"--([a-z][a-z0-9-]*)|^-(v)\b", option)}
    return sorted({long or short for long, short in names} - {"help"})


def read(program: str) -> dict[str, object]:
    """Return the flags of a K3s program, and its minor version."""
    version, server, agent = (
        subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout
        for words in (["--version"], ["server", "--help"], ["agent", "--help"])
    )
    minor = version.split()[2].rpartition(".")[0]
    return {"minor": minor, "server": flags_of(server), "agent": flags_of(agent)}


if __name__ == "__main__":
    FILE.write_text(json.dumps(read(sys.argv[1]), indent=1) + "\n")
