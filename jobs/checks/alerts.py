"""Check alert addresses, heartbeats and the metrics file without sending anything: `crew alerts test` sends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from inventories import Environment, Secret
from jobs.checks.check import Check, CheckResult, fault, ok, warn

CONNECT_TIMEOUT = 10.0


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check for each alert address, each heartbeat and the metrics file."""
    for number, address in enumerate(environment.alerts.all_addresses, start=1):
        yield Check(f"alerts {number}", partial(check_alert_address, address))
    for job, heartbeat in environment.alerts.heartbeat.items():
        yield Check(f"heartbeat {job}", partial(check_heartbeat, heartbeat))
    if textfile := environment.metrics.textfile:
        yield Check("metrics", partial(check_textfile, textfile))


def check_alert_address(address: Secret) -> CheckResult:
    """Check that Apprise can parse the address."""
    from apprise import Apprise

    description = describe_address(address)
    if not Apprise().add(address.reveal()):
        return fault(f"{description} is not a valid Apprise URL", "see appriseit.com for the URL format")
    return ok(f"{description} is a valid Apprise URL; crew alerts test sends a message")


def describe_address(address: Secret) -> str:
    """Return the address without its secret part: its scheme and its source."""
    return f"{address.reveal().split(':', 1)[0]}:… from {address.source}"


def check_heartbeat(address: Secret) -> CheckResult:
    """Check that the heartbeat's host accepts connections; a real heartbeat would report a run that never ran."""
    parts = urlsplit(address.reveal())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return fault("the address is not an http(s) URL", "copy the URL from your heartbeat monitor")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        return fault(
            f"cannot connect to {parts.hostname}:{port} ({error})", "check the host name, the firewall and the proxy"
        )
    return ok(f"{parts.hostname}:{port} accepts connections")


def check_textfile(textfile: Path) -> CheckResult:
    """Check that this user can write the metrics file."""
    folder = textfile.parent
    if not folder.is_dir():
        return warn(
            f"directory {folder} does not exist",
            "create it, or point metrics.textfile to the directory that node_exporter reads",
        )
    if not os.access(folder, os.W_OK):
        return warn(f"directory {folder} is not writable", "give the user that runs the jobs write access")
    return ok(f"directory {folder} is writable")
