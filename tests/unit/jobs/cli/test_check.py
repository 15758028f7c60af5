"""crew check: the order of results, the closing line and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.checks import Check, CheckResult, CheckVerdict, fault, ok, warn
from jobs.cli.check import closing_line, merge_same_problems, sorted_by_verdict, worst_verdict
from tests.unit.jobs.cli.conftest import Crew, Write, databases


def results(**findings: CheckResult) -> list[tuple[Check, CheckResult]]:
    return [(Check(what, lambda: ok("")), finding) for what, finding in findings.items()]


def test_faults_come_first() -> None:
    rows = results(b=ok("1"), a=ok("2"), z=fault("3"), m=warn("4"))
    assert [check.name for check, _ in sorted_by_verdict(rows)] == ["z", "m", "a", "b"]
    assert worst_verdict(rows) is CheckVerdict.FAULT
    assert worst_verdict([]) is CheckVerdict.OK


def test_the_same_fault_of_several_checks_is_one_line() -> None:
    rows = results(a=fault("no key"), b=ok("fine"), c=fault("no key"), d=ok("fine"))
    assert [(check.name, str(finding)) for check, finding in merge_same_problems(rows)] == [
        ("a, c", "no key"),
        ("b", "fine"),
        ("d", "fine"),
    ]


def test_the_closing_line_counts_lines() -> None:
    assert closing_line(results(a=ok("1"), b=ok("2"))) == "all 2 checks ok"
    assert closing_line(results(a=fault("1"), b=warn("2"), c=ok("3"))) == "1 fault, 1 warning in 3 checks"
    assert closing_line(results(a=fault("no route"), b=fault("no route"))) == "1 fault, 0 warnings in 2 checks"


def test_warnings_exit_with_0(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(f'[metrics]\ntextfile = "{tmp_path}/missing/groundcrew.prom"\n')
    result = crew("check", "try")
    assert result.code == 0, result
    assert result.out.splitlines()[-1] == "try: 0 faults, 1 warning in 4 checks"
    document = crew("check", "try", "--json").json
    assert (document["environment"], document["verdict"]) == ("try", "warn")
    assert {check["check"]: check["verdict"] for check in document["checks"]} == {
        "store": "ok", "locks": "ok", "clock": "ok", "metrics": "warn",
    }  # fmt: skip


def test_a_fault_exits_with_1_and_names_the_secret(crew: Crew, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    write(databases("shop", more='password = { env = "SHOP_PASSWORD" }'))
    result = crew("check", "try")
    assert result.code == 1, result
    assert result.out.startswith("fault")
    assert "SHOP_PASSWORD is not set" in result.out
    assert crew("check", "try", "--json").json["verdict"] == "fault"


def test_a_copy_is_checked_and_made_with_the_store(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(f'[copies.offsite]\nurl = "file://{tmp_path}/copy"\n')
    refused = crew("check", "try")
    assert refused.code == 1, refused
    assert f"copies.offsite.url: directory {tmp_path}/copy does not exist" in refused.out
    made = crew("check", "try", "--create")
    assert made.code == 0, made
    assert f"made a store for try in file://{tmp_path}/copy" in made.out
    assert crew("check", "try", "--json").json["checks"][-1]["check"] == "store"
