"""What a host is asked, and what its answer means."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploys.lib.facts import (
    AT_ONCE,
    HostFacts,
    Thing,
    Unit,
    answers,
    command,
    contents,
    paths,
    portions,
    printed,
    units,
)
from deploys.lib.operations import is_older, sha256, stamp_file

ASKED = sorted(paths("/srv") | contents("/etc/motd") | units("a.service", "b.timer", "") | printed("getent group adm"))
TOLD = """\
81a4 root:root 1795689644.123456789 /etc/motd
41c0 ada:ada 1795689644.000000000 /srv

--groundcrew--
c2c0a1  /etc/motd

--groundcrew--
UnitFileState=enabled
ActiveState=active
ActiveEnterTimestamp=@1795689644
ConditionResult=yes
ConditionTimestampMonotonic=5

UnitFileState=
ActiveState=inactive
ActiveEnterTimestamp=
ConditionResult=no
ConditionTimestampMonotonic=5

--groundcrew--
UserspaceTimestamp=@1795689600

--groundcrew--
adm:x:4:
"""


def test_all_is_asked_by_one_command() -> None:
    assert command(ASKED) == (
        "exec 2>/dev/null </dev/null; (stat --dereference --format='%f %U:%G %.9Y %n' -- /etc/motd /srv); echo; "
        "echo --groundcrew--; (sha256sum -- /etc/motd); echo; echo --groundcrew--; (systemctl show --timestamp=unix "
        "--property=UnitFileState,ActiveState,ActiveEnterTimestamp,ConditionResult,ConditionTimestampMonotonic -- "
        "a.service b.timer); echo; echo --groundcrew--; (systemctl show --timestamp=unix "
        "--property=UserspaceTimestamp); echo; echo --groundcrew--; (getent group adm); true"
    )


def test_the_answers_are_told_apart() -> None:
    second = 10**9
    assert answers(ASKED, TOLD.splitlines()) == HostFacts(
        {
            "/etc/motd": Thing(True, False, "644", "root:root", 1795689644123456789),
            "/srv": Thing(False, True, "700", "ada:ada", 1795689644 * second),
        },
        {"/etc/motd": "c2c0a1"},
        {
            "a.service": Unit("enabled", active=True, unfit=False, started=1795689644 * second),
            "b.timer": Unit("", active=False, unfit=True, started=0),
            "": Unit("", active=False, unfit=False, started=1795689600 * second),
        },
        {"getent group adm": ["adm:x:4:"]},
    )


def test_a_real_shell_is_understood(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("told\n")
    (tmp_path / "link").symlink_to("a file")
    (tmp_path / "a file").chmod(0o4750)
    here, missing = str(tmp_path / "link"), str(tmp_path / "missing")
    asked = sorted(contents(here, missing) | printed("printf unended", "echo a; echo; echo b", "exit 3", "cat"))
    shell = subprocess.run(["sh", "-c", command(asked)], check=True, capture_output=True, text=True)
    seen = answers(asked, shell.stdout.splitlines())
    assert set(seen.things) == {here}
    assert (seen.things[here].is_file, seen.things[here].mode) == (True, "4750")
    assert abs(seen.things[here].written - (tmp_path / "a file").stat().st_mtime_ns) < 1
    assert seen.sums == {here: sha256("told\n")}
    assert seen.printed == {
        "printf unended": ["unended"],
        "echo a; echo; echo b": ["a", "", "b"],
        "exit 3": [],
        "cat": [],
    }


def test_where_no_systemd_tells_of_units_none_runs() -> None:
    told = ["", "--groundcrew--"] * 3
    assert answers(sorted(units("a.service")), told).units["a.service"] == Unit("", False, False, 0)


def test_many_questions_are_asked_in_portions() -> None:
    asked = paths(*map(str, range(2 * AT_ONCE + 1)))
    assert [len(each) for each in portions(asked)] == [AT_ONCE, AT_ONCE, 1]
    assert frozenset().union(*portions(asked)) == asked


def thing(written: int = 0, mode: str = "644", owner: str = "root:root", is_folder: bool = False) -> Thing:
    return Thing(not is_folder, is_folder, mode, owner, written)


@pytest.mark.parametrize(
    ("started", "stamped", "written", "older"),
    [(5, 0, 4, False), (5, 0, 6, True), (5, 7, 6, False), (0, 0, 1, True), (5, 7, None, False)],
)
def test_a_unit_is_older_than_files_written_after_it_started_and_was_told(
    started: int, stamped: int, written: int | None, older: bool
) -> None:
    things = {stamp_file("a.service"): thing(stamped)} if stamped else {}
    things |= {"/etc/a": thing(written)} if written is not None else {}
    seen = HostFacts(things=things, units={"a.service": Unit("enabled", True, False, started)})
    assert is_older(seen, "a.service", ["/etc/a"]) is older
