"""Options of logs and --json work before and after the command."""

from __future__ import annotations

import pytest

from jobs.cli.order import ordered
from tests.unit.jobs.cli.conftest import Crew, Write


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("runs try --json", "runs try --json"),
        ("--json runs try", "runs try --json"),
        ("runs try -vv", "-vv runs try"),
        ("backups list try --quiet -n 3", "--quiet backups list try -n 3"),
        ("run backup try --json -v -- -v", "-v run backup try --json -- -v"),
        ("", ""),
    ],
)
def test_options_of_every_command_are_moved_to_their_place(args: str, expected: str) -> None:
    assert ordered(args.split()) == expected.split()


def test_the_options_work_on_either_side(crew: Crew, write: Write) -> None:
    write()
    assert crew("--json", "runs", "try").json == crew("runs", "try", "--json", "-v", "--quiet").json
