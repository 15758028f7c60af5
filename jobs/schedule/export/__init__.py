"""The schedule of an environment as files for cron, systemd and Kubernetes: the same ticks, or a refusal."""

from __future__ import annotations

from inventories import CrewError, ExitCode


class UnsupportedSchedule(CrewError):
    """A line that a target can't express: the message says which, why, and what to write instead."""

    exit_code = ExitCode.BAD_CONFIGURATION
