"""Which exit code each error ends with."""

from __future__ import annotations

import pytest

from inventories import BadEnvironment, CrewError, ExitCode, NoSecret
from jobs.backup.errors import BackupError, NoProgram
from jobs.cli.arguments import NotConfigured, WrongUsage
from jobs.cli.exit_codes import explained
from jobs.embedded import EmbeddedError
from jobs.retention.policy import ClockBehind
from jobs.run.job import Failed, Transient, UnknownName
from jobs.run.lease import LockHeld
from jobs.run.stop import Stopped
from jobs.schedule.export import UnsupportedSchedule
from jobs.store import Denied, OutOfReach, StoreError
from terraform.errors import StackError
from terraform.errors import TemporaryStackError as StackOutOfReach


@pytest.mark.parametrize(
    ("family", "code"),
    [
        (CrewError, ExitCode.FAILED),
        (BadEnvironment, ExitCode.BAD_CONFIGURATION),
        (NoSecret, ExitCode.BAD_CONFIGURATION),
        (NotConfigured, ExitCode.BAD_CONFIGURATION),
        (UnsupportedSchedule, ExitCode.BAD_CONFIGURATION),
        (UnknownName, ExitCode.WRONG_USAGE),
        (WrongUsage, ExitCode.WRONG_USAGE),
        (LockHeld, ExitCode.LOCK_HELD),
        (EmbeddedError, ExitCode.FAILED),
        (ClockBehind, ExitCode.FAILED),
        (Failed, ExitCode.FAILED),
        (BackupError, ExitCode.FAILED),
        (Transient, ExitCode.FAILED),
        (Stopped, ExitCode.FAILED),
        (StoreError, ExitCode.FAILED),
        (StackError, ExitCode.FAILED),
    ],
)
def test_each_family_has_its_exit_code(family: type[CrewError], code: ExitCode) -> None:
    assert explained(family("what, why, and what to do")) == (code, ["what, why, and what to do"])


@pytest.mark.parametrize(
    ("family", "retryable"),
    [
        (Transient, True),
        (OutOfReach, True),
        (StackOutOfReach, True),
        (Failed, False),
        (Denied, False),
        (StoreError, False),
        (StackError, False),
        (LockHeld, False),
        (Stopped, False),
    ],
)
def test_only_temporary_errors_are_retryable(family: type[CrewError], retryable: bool) -> None:
    assert family.retryable is retryable


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (BadEnvironment("one", "two"), (ExitCode.BAD_CONFIGURATION, ["one", "two"])),
        (Denied("s3://x: no"), (ExitCode.FAILED, ["s3://x: no"])),
        (NoProgram("no pg_dump; install it"), (ExitCode.FAILED, ["no pg_dump; install it"])),
        (LockHeld("held by a"), (ExitCode.LOCK_HELD, ["held by a"])),
        (PermissionError(13, "Permission denied", "/etc/x"), (ExitCode.FAILED, ["/etc/x: Permission denied"])),
        (OSError(28, "No space left on device"), (ExitCode.FAILED, ["output: No space left on device"])),
        (FileNotFoundError(2, "No such file", "/etc/x"), None),
        (KeyError("colour"), None),
    ],
)
def test_an_error_that_explains_itself_is_not_a_bug(error: Exception, end: tuple[ExitCode, list[str]] | None) -> None:
    assert explained(error) == end
