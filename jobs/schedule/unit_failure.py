"""The message about a systemd unit that failed without a run record. Pure."""

from __future__ import annotations

from collections.abc import Mapping

FAILED = "1"


def failure_message(environment: str, variables: Mapping[str, str]) -> str | None:
    """Return the message for the variables that systemd passes to an OnFailure= unit.

    None if the run exited with 1: that run wrote its record and sent its own alert.
    """
    unit, result = variables.get("MONITOR_UNIT", ""), variables.get("MONITOR_SERVICE_RESULT", "failed")
    code, status = variables.get("MONITOR_EXIT_CODE", ""), variables.get("MONITOR_EXIT_STATUS", "")
    if code == "exited" and status == FAILED:
        return None
    exit_status = f"{code} {status}".strip()
    return (
        f"{environment}: {unit or 'a run'} was killed or crashed without a run record "
        f"({result}{f': {exit_status}' if exit_status else ''}); "
        f"see journalctl{f' --unit {unit}' if unit else ''} on {variables.get('HOSTNAME', 'its host')}"
    )
