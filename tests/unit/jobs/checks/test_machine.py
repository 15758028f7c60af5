"""Programs and their versions."""

from __future__ import annotations

import pytest

from jobs import backup
from jobs.checks import CheckVerdict, fault, machine
from jobs.checks.machine import RequiredProgram, check_isolation, check_program, first_version


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


@pytest.mark.parametrize(
    ("reason", "in_unit", "verdict", "fact"),
    [
        (None, False, CheckVerdict.OK, "verifications need a scratch server"),
        ("", False, CheckVerdict.OK, "bubblewrap isolates verifications"),
        ("bubblewrap is not installed", False, CheckVerdict.WARN, "not isolated from this machine: bubblewrap is not"),
        ("bubblewrap failed (no namespaces)", True, CheckVerdict.OK, "each verification reports if it was isolated"),
    ],
)
def test_a_machine_that_cannot_isolate_verifications_is_a_warning(
    reason: str | None, in_unit: bool, verdict: CheckVerdict, fact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "verification_fault", lambda: reason, raising=False)
    monkeypatch.setattr(machine, "in_hardened_unit", lambda: in_unit)
    result = check_isolation()
    assert result.verdict is verdict, result
    assert fact in result.fact
