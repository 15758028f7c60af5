"""Messages to the person who runs a deploy."""

from __future__ import annotations

from pyinfra.api import Host, State

from inventories import redact
from inventories.printable import printable_lines


def log_message(host: Host, message: str) -> None:
    """Print a message about a host. pyinfra prints it as it is, and output of a host is text from outside."""
    host.log(printable_lines(redact(message)))


def report_failure(state: State, host: Host, message: str) -> bool:
    """Print a message and fail, as a FunctionCommand."""
    log_message(host, message)
    return False
