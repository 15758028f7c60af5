"""Can alerts, heartbeats and metrics get out? Nothing is sent: `crew alerts test` does that."""

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
    """Each address that bad news and heartbeats go to, and the metrics' file."""
    for at, address in enumerate(environment.alerts.to, start=1):
        yield Check(f"alerts {at}", partial(check_alert_address, address))
    for job, beat in environment.alerts.heartbeat.items():
        yield Check(f"heartbeat {job}", partial(check_heartbeat, beat))
    if textfile := environment.metrics.textfile:
        yield Check("metrics", partial(check_textfile, textfile))


def check_alert_address(address: Secret) -> CheckResult:
    """Whether Apprise knows this kind of address and finds it whole."""
    from apprise import Apprise

    kind = describe_address(address)
    if not Apprise().add(address.reveal()):
        return fault(f"{kind} is no address that Apprise understands", "appriseit.com says how it is written")
    return ok(f"{kind} is well written; crew alerts test sends a message")


def describe_address(address: Secret) -> str:
    """An address without what is secret in it: its scheme, and where it is kept."""
    return f"{address.reveal().split(':', 1)[0]}:… from {address.source}"


def check_heartbeat(address: Secret) -> CheckResult:
    """Whether somebody listens at the address; no beat is sent, for it would tell of a run that never was."""
    parts = urlsplit(address.reveal())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return fault("its address is no http(s) address", "copy it from where the heartbeats are watched")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        return fault(f"{parts.hostname}:{port} can't be reached ({error})", "look at the name, the firewall, the proxy")
    return ok(f"{parts.hostname}:{port} is in reach")


def check_textfile(textfile: Path) -> CheckResult:
    """Whether the metrics' file can be replaced."""
    folder = textfile.parent
    if not folder.is_dir():
        return warn(f"there is no folder {folder}", "create it, or set metrics.textfile where node_exporter looks")
    if not os.access(folder, os.W_OK):
        return warn(f"{folder} is not writable for this user", "let the user that runs the jobs write there")
    return ok(f"{folder} is writable")
