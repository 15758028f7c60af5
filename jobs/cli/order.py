"""Options that every command takes, before or after its name. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LOG_OPTION = re.compile(r"-v+|--verbose|--quiet")


def ordered(args: Sequence[str]) -> list[str]:
    """Return the arguments with the options of logs first and --json last, where the parser expects them."""
    end = args.index("--") if "--" in args else len(args)
    own, rest = args[:end], args[end:]
    logs = [word for word in own if _LOG_OPTION.fullmatch(word)]
    as_json = ["--json"] if "--json" in own else []
    return [*logs, *(word for word in own if word not in (*logs, *as_json)), *as_json, *rest]
