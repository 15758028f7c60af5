"""Which end each error comes to."""

from __future__ import annotations

from importlib import import_module

import pytest

from inventories import BadEnvironment
from jobs.backup.errors import NoProgram
from jobs.cli.exit_codes import KNOWN, Code, known_end
from jobs.run.lease import Held
from jobs.store import Denied


@pytest.mark.parametrize("name", KNOWN)
def test_each_family_is_where_its_name_says(name: str) -> None:
    module, _, kind = name.partition(":")
    assert issubclass(getattr(import_module(module), kind), Exception)


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (BadEnvironment("one", "two"), (Code.BAD_CONFIGURATION, ["one", "two"])),
        (Denied("s3://x: no"), (Code.FAILED, ["s3://x: no"])),
        (NoProgram("no pg_dump; install it"), (Code.FAILED, ["no pg_dump; install it"])),
        (Held("held by a"), (Code.LOCK_HELD, ["held by a"])),
        (PermissionError(13, "Permission denied", "/etc/x"), (Code.FAILED, ["/etc/x: Permission denied"])),
        (OSError(28, "No space left on device"), (Code.FAILED, ["what crew prints: No space left on device"])),
        (FileNotFoundError(2, "No such file", "/etc/x"), None),
        (KeyError("colour"), None),
    ],
)
def test_an_error_that_explains_itself_is_no_bug(error: Exception, end: tuple[Code, list[str]] | None) -> None:
    assert known_end(error) == end
