"""The script that runs `crew check` on a job runner."""

from __future__ import annotations

import subprocess

from deploys.lib.job_runner.host import crew_check_command


def test_the_check_is_a_valid_shell_script() -> None:
    subprocess.run(["sh", "-n"], input=crew_check_command("try"), text=True, check=True)
