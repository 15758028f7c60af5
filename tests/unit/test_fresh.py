"""Fresh systems are made without a version in a package's name, and reached with the settings of this machine."""

from __future__ import annotations

from pathlib import Path

from tests.fresh import PROGRAMS, SYSTEMS, Result, log_name, pip_settings, table


def test_a_system_of_debian_comes_from_the_mirror_of_this_machine() -> None:
    system = SYSTEMS["debian-13"]
    assert system.debootstrap(Path("/new"), "http://mirror/debian") == [
        "debootstrap", "--variant=minbase", "--components=main", f"--include={PROGRAMS}",
        "trixie", "/new", "http://mirror/debian",
    ]  # fmt: skip
    assert system.sources("http://mirror/debian", "http://mirror/security").splitlines() == [
        "deb http://mirror/debian trixie main",
        "deb http://mirror/debian trixie-updates main",
        "deb http://mirror/security trixie-security main",
    ]


def test_only_settings_that_say_where_packages_come_from_are_passed_on() -> None:
    listed = "global.index-url='https://pypi.example/simple'\n:env:.default-timeout='180'\nglobal.trusted-host='a'\n"
    assert pip_settings(listed) == {"PIP_INDEX_URL": "https://pypi.example/simple", "PIP_TRUSTED_HOST": "a"}


def test_the_table_lines_up() -> None:
    assert table([Result("debian-13", "make setup", 172.4, "passed"), Result("ubuntu", "-", 0, "not run")]) == (
        "system     target      seconds  result\n"
        "debian-13  make setup      172  passed\n"
        "ubuntu     -                 0  not run"
    )


def test_the_log_of_a_target_with_arguments_has_a_plain_name() -> None:
    assert log_name("debian-13", "test ARGS=tests/lab") == "debian-13-test-ARGS-tests-lab.log"
