"""The message about a systemd unit that failed without a run record."""

from __future__ import annotations

import pytest

from jobs.schedule.unit_failure import failure_message


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MONITOR_EXIT_CODE": "exited", "MONITOR_EXIT_STATUS": "1", "MONITOR_SERVICE_RESULT": "exit-code"}, None),
        (
            {
                "MONITOR_EXIT_CODE": "killed", "MONITOR_EXIT_STATUS": "KILL", "MONITOR_SERVICE_RESULT": "oom-kill",
                "MONITOR_UNIT": "groundcrew-try-backup.service", "HOSTNAME": "jobs-1",
            },
            "try: groundcrew-try-backup.service was killed or crashed without a run record (oom-kill: killed KILL); "
            "see journalctl --unit groundcrew-try-backup.service on jobs-1",
        ),
        ({}, "try: a run was killed or crashed without a run record (failed); see journalctl on its host"),
    ],
)  # fmt: skip
def test_the_message_names_the_unit_and_how_it_ended(variables: dict[str, str], message: str | None) -> None:
    assert failure_message("try", variables) == message
