"""Programs and their versions."""

from __future__ import annotations

import pytest

from jobs.checks import CheckVerdict, fault
from jobs.checks.machine import RequiredProgram, check_program, first_version


def test_a_program_reports_its_version_or_its_purpose() -> None:
    python = check_program(RequiredProgram("python3", ("--version",), "this"))
    assert python.verdict is CheckVerdict.OK, python
    assert python.fact.startswith("3.")
    missing = check_program(RequiredProgram("no-such-program", (), "stacks"))
    assert missing == fault("not installed; needed for stacks", "install no-such-program")
    optional = check_program(RequiredProgram("no-such-program", (), "x", required=False))
    assert optional.verdict is CheckVerdict.WARN, optional


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17", "9.2p1"),
        ("Terraform v1.9.8\non linux_amd64", "1.9.8"),
        ("*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***", "1.5.4"),
        ("(devel)", None),
    ],
)
def test_the_first_version_in_the_output_counts(output: str, version: str | None) -> None:
    assert first_version(output) == version
