"""Export an environment's schedule as files for cron, systemd and Kubernetes, with exactly the same ticks."""

from __future__ import annotations

from inventories import CrewError, ExitCode


class UnsupportedSchedule(CrewError):
    """The target scheduler cannot express a cron line; the message names the line, the reason and the remedy."""

    exit_code = ExitCode.BAD_CONFIGURATION
