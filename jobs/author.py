"""Who started this process, and with which command line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

_LONGEST_COMMAND = 1000
_command: list[str] = []


def set_command(arguments: Sequence[str]) -> None:
    """Keep the arguments of `crew` for the records of this process's runs."""
    _command[:] = ["crew", *arguments]


def invoked_command() -> str:
    """Return this process's command line without secrets; empty if the process is not `crew`."""
    from inventories import redact

    return redact(shlex.join(_command))[:_LONGEST_COMMAND]


def user_name() -> str:
    """Return who started this process; with sudo, the user who called it."""
    import getpass

    if caller := os.environ.get("SUDO_USER"):
        return caller
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container can run as a user without a name
        return f"uid-{os.getuid()}"
