"""The targets of the Makefile, with the line that `make help` prints for each."""

from __future__ import annotations

import re
from pathlib import Path

MAKEFILE = Path(__file__).parents[2] / "Makefile"
TARGETS: dict[str, str] = dict(re.findall(r"^([a-z-]+):.*?## (.*)$", MAKEFILE.read_text(), re.MULTILINE))
