from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from jobs.checks import Check, CheckResult, CheckVerdict, fault, ok, warn
from jobs.cli.check import told_once, verdict, worst, worst_first
from tests.unit.jobs.cli.conftest import Crew, databases

Write = Callable[..., Path]


def found(**findings: CheckResult) -> list[tuple[Check, CheckResult]]:
    return [(Check(what, lambda: ok("")), finding) for what, finding in findings.items()]


def test_faults_are_on_top() -> None:
    rows = found(b=ok("1"), a=ok("2"), z=fault("3"), m=warn("4"))
    assert [check.name for check, _ in worst_first(rows)] == ["z", "m", "a", "b"]
    assert worst(rows) is CheckVerdict.FAULT
    assert worst([]) is CheckVerdict.OK


def test_the_same_fault_is_told_once() -> None:
    rows = found(a=fault("no key"), b=ok("fine"), c=fault("no key"), d=ok("fine"))
    assert [(check.name, str(finding)) for check, finding in told_once(rows)] == [
        ("a, c", "no key"),
        ("b", "fine"),
        ("d", "fine"),
    ]


def test_the_last_line_counts() -> None:
    assert verdict(found(a=ok("1"), b=ok("2"))) == "all 2 checks ok"
    assert verdict(found(a=fault("1"), b=warn("2"), c=ok("3"))) == "1 fault, 1 warning in 3 checks"
    assert verdict(found(a=fault("no route"), b=fault("no route"))) == "1 fault, 0 warnings in 2 checks"


def test_a_good_environment_is_ok(crew: Crew, write: Write) -> None:
    write()
    ended = crew("check", "try")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "try: 0 faults, 1 warning in 4 checks"
    told = crew("check", "try", "--json").told
    assert (told["environment"], told["verdict"]) == ("try", "warn")
    assert {check["check"]: check["verdict"] for check in told["checks"]} == {
        "store": "ok", "locks": "ok", "clock": "ok", "encryption": "warn",
    }  # fmt: skip


def test_a_fault_exits_1_and_shows_no_secret(crew: Crew, write: Write, monkeypatch: object) -> None:
    write(databases("shop", more='password = { env = "SHOP_PASSWORD" }'))
    ended = crew("check", "try")
    assert ended.code == 1
    assert ended.out.startswith("fault")
    assert "SHOP_PASSWORD is not set" in ended.out
    assert json.loads(crew("check", "try", "--json").out)["verdict"] == "fault"
