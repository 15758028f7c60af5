"""The programs that check plans are looked for before a plan needs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.checks import CheckVerdict
from jobs.checks.stacks import check_plan_checker


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("sh", CheckVerdict.OK),
        ("/bin/sh", CheckVerdict.OK),
        ("policy/check.sh", CheckVerdict.OK),
        ("policy/no.sh", CheckVerdict.FAULT),
        ("no-such-program", CheckVerdict.FAULT),
    ],
)
def test_a_program_of_terraform_checks(tmp_path: Path, program: str, verdict: CheckVerdict) -> None:
    file = tmp_path / "policy" / "check.sh"
    file.parent.mkdir()
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    assert check_plan_checker(tmp_path, program).verdict is verdict
