"""The mark in exported files."""

from __future__ import annotations

from deploys.lib.job_runner.files import EXPORT_MARK
from jobs.schedule.export.files import made_by


def test_the_job_runner_deploy_recognises_exported_units() -> None:
    assert made_by("systemd", "production").startswith(EXPORT_MARK)
