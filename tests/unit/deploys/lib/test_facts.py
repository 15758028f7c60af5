"""The command that reads facts, and how its output is parsed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploys.lib.facts import (
    QUESTIONS_PER_COMMAND,
    HostFacts,
    PathFacts,
    UnitFacts,
    command_output,
    facts_command,
    file_contents,
    parse_facts,
    paths,
    question_batches,
    unit_states,
)
from deploys.lib.operations import sha256

QUESTIONS = sorted(
    paths("/srv")
    | file_contents("/etc/motd")
    | unit_states("a.service", "b.timer", "")
    | command_output("getent group adm")
)
OUTPUT = """\
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


def test_one_command_reads_all_facts() -> None:
    assert facts_command(QUESTIONS) == (
        "exec 2>/dev/null </dev/null; (stat --dereference --format='%f %U:%G %.9Y %n' -- /etc/motd /srv); echo; "
        "echo --groundcrew--; (sha256sum -- /etc/motd); echo; echo --groundcrew--; (systemctl show --timestamp=unix "
        "--property=UnitFileState,ActiveState,ActiveEnterTimestamp,ConditionResult,ConditionTimestampMonotonic -- "
        "a.service b.timer); echo; echo --groundcrew--; (systemctl show --timestamp=unix "
        "--property=UserspaceTimestamp); echo; echo --groundcrew--; (getent group adm); true"
    )


def test_the_output_is_parsed_by_question() -> None:
    second = 10**9
    assert parse_facts(QUESTIONS, OUTPUT.splitlines()) == HostFacts(
        {
            "/etc/motd": PathFacts(True, False, "644", "root:root", 1795689644123456789),
            "/srv": PathFacts(False, True, "700", "ada:ada", 1795689644 * second),
        },
        {"/etc/motd": "c2c0a1"},
        {
            "a.service": UnitFacts("enabled", active=True, condition_failed=False, started=1795689644 * second),
            "b.timer": UnitFacts("", active=False, condition_failed=True, started=0),
            "": UnitFacts("", active=False, condition_failed=False, started=1795689600 * second),
        },
        {"getent group adm": ["adm:x:4:"]},
    )


def test_the_output_of_a_real_shell_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("text\n")
    (tmp_path / "link").symlink_to("a file")
    (tmp_path / "a file").chmod(0o4750)
    link, missing = str(tmp_path / "link"), str(tmp_path / "missing")
    commands = ("printf 'no newline'", "echo a; echo; echo b", "exit 3", "cat")
    questions = sorted(file_contents(link, missing) | command_output(*commands))
    shell = subprocess.run(["sh", "-c", facts_command(questions)], check=True, capture_output=True, text=True)
    facts = parse_facts(questions, shell.stdout.splitlines())
    assert set(facts.paths) == {link}
    assert (facts.paths[link].is_file, facts.paths[link].mode) == (True, "4750")
    assert abs(facts.paths[link].modified - (tmp_path / "a file").stat().st_mtime_ns) < 1
    assert facts.checksums == {link: sha256("text\n")}
    assert facts.output == {
        "printf 'no newline'": ["no newline"],
        "echo a; echo; echo b": ["a", "", "b"],
        "exit 3": [],
        "cat": [],
    }


def test_without_systemd_no_unit_is_active() -> None:
    lines = ["", "--groundcrew--"] * 3
    facts = parse_facts(sorted(unit_states("a.service")), lines)
    assert facts.units["a.service"] == UnitFacts("", False, False, 0)


def test_many_questions_are_read_in_batches() -> None:
    questions = paths(*map(str, range(2 * QUESTIONS_PER_COMMAND + 1)))
    batches = list(question_batches(questions))
    assert [len(batch) for batch in batches] == [QUESTIONS_PER_COMMAND, QUESTIONS_PER_COMMAND, 1]
    assert frozenset().union(*batches) == questions
