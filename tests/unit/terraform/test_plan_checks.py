"""Programs that check a plan."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from inventories import PlanCheck
from terraform import plan_checks
from terraform.errors import ChangeRefused, StackError
from terraform.paths import StackPaths
from terraform.plan_checks import PlanCheckResult, checking_environment, refuse_failed_checks
from terraform.program import start_directly
from tests.unit.terraform.plan_json import entry

PLAN = json.dumps({
    "format_version": "1.2",
    "resource_changes": [entry("a.x", ["create"], None, {"p": "hush-hush-42"}, after_sensitive={"p": True})],
})  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    made = StackPaths(tmp_path, "staging", "network")
    made.data_folder.mkdir(parents=True)
    return made


def run(paths: StackPaths, *checks: PlanCheck) -> list[PlanCheckResult]:
    return plan_checks.run_plan_checks(paths, checks, PLAN, start_directly)


def python(code: str, *, raw: bool = False) -> PlanCheck:
    return PlanCheck((sys.executable, "-c", code, "{plan}"), raw)


def test_each_check_gets_the_plan_and_only_a_raw_one_its_secrets(paths: StackPaths) -> None:
    code = "import sys, os; file = sys.argv[1]; print(os.getcwd(), os.stat(file).st_mode & 0o777, open(file).read())"
    code += "; sys.exit(3)"
    masked, raw = run(paths, python(code), python(code, raw=True))
    for result in (masked, raw):
        assert (result.code, result.verdict) == (3, "failed with exit code 3")
        assert result.output.startswith(f"{paths.root} 384 ".encode())
    assert b"hush-hush-42" not in masked.output
    assert b"hush-hush-42" in raw.output
    assert masked.command.endswith("{plan}")
    assert list(paths.data_folder.iterdir()) == []


def test_a_check_gets_no_input_variables() -> None:
    inherited = {"TF_VAR_password": "hush", "HOME": "/root"}
    environment = checking_environment(StackPaths(Path("/"), "staging", "network"), inherited)
    assert environment == {
        "HOME": "/root", "CREW_ENVIRONMENT": "staging", "CREW_STACK": "network", "NO_COLOR": "1",
    }  # fmt: skip


def test_a_long_output_is_cut(paths: StackPaths) -> None:
    [result] = run(paths, python("print('x' * 1_000_000)"))
    assert (result.code, len(result.output) < plan_checks.MAX_OUTPUT + 100) == (0, True)
    assert result.output.endswith(b"(the rest is cut)\n")


def test_a_program_that_is_missing_or_hangs_is_an_error(paths: StackPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        StackError, match=r"staging/network: the check none-such {plan} cannot be started .*; install none-such"
    ):
        run(paths, PlanCheck(("none-such", "{plan}")))
    monkeypatch.setattr(plan_checks, "LIMIT_SECONDS", 0.2)
    with pytest.raises(StackError, match="ran longer than 0 s and was killed"):
        run(paths, python("import time; time.sleep(60)"))


def test_failed_checks_refuse_the_plan() -> None:
    passed, failed = PlanCheckResult("a {plan}", 0, b""), PlanCheckResult("b {plan}", 2, b"")
    refuse_failed_checks("staging/network", [passed])
    with pytest.raises(ChangeRefused) as caught:
        refuse_failed_checks("staging/network", [passed, failed])
    assert str(caught.value) == (
        "staging/network: the plan is refused by [terraform] checks: b {plan} failed with exit code 2; "
        "see its output, then change the code or the check"
    )
