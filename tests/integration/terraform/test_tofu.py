"""OpenTofu, simulated: the new Terraform under the name tofu, with the output format of OpenTofu."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.cloud import EMPTY, Cloud, cloud
from tests.parts.terraform import NEW, program

# The differences: the version text, the format of plan JSON, and no field `applyable`.
TOFU = """#!{python}
import json, subprocess, sys
words = sys.argv[1:]
if words == ["version"]:
    print("OpenTofu v1.10.5\\non linux_amd64")
    sys.exit()
if words[:1] != ["show"] or "-json" not in words:
    sys.exit(subprocess.call([{terraform!r}, *words]))
plan = json.loads(subprocess.run([{terraform!r}, *words], stdout=subprocess.PIPE, check=True).stdout)
assert plan.pop("applyable") is True
del plan["complete"]
print(json.dumps(plan | {{"format_version": "1.2", "terraform_version": "1.10.5"}}))
"""
CODE = EMPTY + 'variable "word" { default = "old" }\nresource "terraform_data" "x" { input = var.word }\n'


@pytest.fixture
def tofu(tmp_path: Path) -> Iterator[Cloud]:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tofu").write_text(TOFU.format(python=sys.executable, terraform=str(program(NEW))))
    (folder / "tofu").chmod(0o755)
    with cloud(tmp_path, NEW, PATH=f"{folder}:{os.environ['PATH']}") as made:
        made.only("simple", code=CODE, program="tofu")
        yield made


def test_plan_apply_drift_and_errors_with_tofu(tofu: Cloud) -> None:
    tofu.run_json("stacks", "bootstrap", "staging")
    [check] = [check for check in tofu.run_json("check", "staging")["checks"] if check["check"] == "program tofu"]
    assert (check["verdict"], check["fact"]) == ("ok", "1.10.5")
    [planned] = tofu.run_json("stacks", "plan", "staging")["stacks"]
    assert [(one["action"], one["address"]) for one in planned["changes"]] == [("create", "terraform_data.x")]
    tofu.run_json("stacks", "apply", "staging", "--yes")
    assert findings(tofu) == []
    tofu.stack("simple", CODE.replace("old", "new"))
    assert findings(tofu, code=2) == [("pending", "terraform_data.x", "input")]
    tofu.stack("simple", CODE + "resource {")
    assert "tofu init failed: " in tofu.failure("stacks", "plan", "staging")


def findings(tofu: Cloud, code: int = 0) -> list[tuple[str, str, str]]:
    [environment] = tofu.run_json("drift", "staging", "--fail-on", "pending", code=code)["environments"]
    return [(one["kind"], one["address"], one["attribute"]) for one in environment["stacks"][0]["findings"]]
