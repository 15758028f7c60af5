"""What systemd knows of a run that ended badly, in a sentence for people, if nobody has told them yet."""

from __future__ import annotations

from collections.abc import Mapping

FAILED = "1"


def failure_message(environment: str, told: Mapping[str, str]) -> str | None:
    """What to tell of a unit, by the variables that systemd sets for its OnFailure= unit.

    A run that ended with 1 has a record, and has told of itself.
    """
    unit, result = told.get("MONITOR_UNIT", ""), told.get("MONITOR_SERVICE_RESULT", "failed")
    code, status = told.get("MONITOR_EXIT_CODE", ""), told.get("MONITOR_EXIT_STATUS", "")
    if code == "exited" and status == FAILED:
        return None
    how = f"{code} {status}".strip()
    return (
        f"{environment}: {unit or 'a run'} died without a word ({result}{f': {how}' if how else ''}); "
        f"see journalctl{f' --unit {unit}' if unit else ''} on {told.get('HOSTNAME', 'its host')}"
    )
