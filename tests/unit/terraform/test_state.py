"""The state version and the refresh result in saved plans; the contents of states and their differences."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from terraform.errors import ChangeRefused
from terraform.state import (
    StateDifference,
    StateVersion,
    found_no_change,
    planned_state_version,
    state_contents,
    state_differences,
    state_version,
    succeeding_state,
)


def instance(name: str = "x", mode: str = "managed", **more: Any) -> dict[str, Any]:
    """A resource in a state, with one instance."""
    one = {"attributes": {"id": "1", "tags": {"Owner": "we"}, "ports": []}, "dependencies": ["a.b", "a.c"], **more}
    return {"mode": mode, "type": "aws_vpc", "name": name, "instances": [one]}


def saved(folder: Path, before: Sequence[Any] | None, after: Sequence[Any]) -> Path:
    """A plan file with the parts that are read."""
    file = folder / "plan"
    with zipfile.ZipFile(file, "w") as plan:
        for name, resources in (("tfstate-prev", before), ("tfstate", after)):
            if resources is not None:
                plan.writestr(name, json.dumps({"serial": 7, "lineage": "l", "resources": resources}))
    return file


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param([], [], True, id="empty"),
        pytest.param([instance()], [instance()], True, id="the same"),
        pytest.param([instance(), instance("y")], [instance("y"), instance()], True, id="another order"),
        pytest.param(
            [instance()], [instance(dependencies=["a.c", "a.b"], private="x")], True, id="only Terraform's own metadata"
        ),
        pytest.param(
            [instance(attributes={"n": None})], [instance(attributes={"n": []})], True, id="one empty value for another"
        ),
        pytest.param(
            [instance(mode="data")], [instance(mode="data", attributes={"id": "2"})], True, id="only data sources"
        ),
        pytest.param([instance()], [instance(attributes={"id": "2"})], False, id="an attribute"),
        pytest.param(
            [instance()], [instance(attributes={"id": "1", "tags": {"Owner": "he"}, "ports": []})], False, id="a tag"
        ),
        pytest.param([instance()], [], False, id="deleted"),
        pytest.param([], [instance()], False, id="added by an import"),
        pytest.param([instance()], [instance("y")], False, id="another name"),
        pytest.param([instance()], [instance(index_key=0)], False, id="moved to [0]"),
        pytest.param([instance()], [instance(status="tainted")], False, id="tainted"),
        pytest.param(None, [instance()], False, id="a plan without the previous state"),
    ],
)
def test_whether_the_refresh_found_a_change(before: Any, after: Any, expected: bool, tmp_path: Path) -> None:
    assert found_no_change(saved(tmp_path, before, after)) is expected


def test_the_state_version_of_a_plan(tmp_path: Path) -> None:
    assert planned_state_version(saved(tmp_path, [], [])) == StateVersion("l", 7)


@pytest.mark.parametrize(
    ("now", "planned", "expected"),
    [
        (StateVersion("l", 7), StateVersion("l", 7), True),
        (StateVersion("l", 8), StateVersion("l", 7), False),
        (StateVersion("m", 7), StateVersion("l", 7), False),
        (StateVersion(), StateVersion("l", 0), True),
        (StateVersion(), StateVersion("l", 7), False),
    ],
)
def test_whether_a_plan_matches_the_current_state(now: StateVersion, planned: StateVersion, expected: bool) -> None:
    assert now.matches(planned) is expected


def test_the_version_of_a_missing_state() -> None:
    assert state_version("") == StateVersion()


@pytest.mark.parametrize(
    ("name", "code", "same"),
    [
        ("main.tf", 'check "health" {', False), ("main.tf", '  check  "health" {', False), ("main.tf", "", True),
        ("main.tf.json", '{"check": {"health": {}}}', False), ("main.tf", '# no check "health"', True),
    ],
)  # fmt: skip
def test_a_plan_of_code_with_checks_is_read(tmp_path: Path, name: str, code: str, same: bool) -> None:
    """Only the plan has the results of checks."""
    file = saved(tmp_path, [instance()], [instance()])
    with zipfile.ZipFile(file, "a") as plan:
        plan.writestr(f"tfconfig/m-/{name}", code)
    assert found_no_change(file) is same


def state(*resources: dict[str, Any], serial: int = 7, lineage: str = "l", **outputs: str) -> str:
    """A state as JSON."""
    values = {name: {"value": value, "type": "string"} for name, value in outputs.items()}
    return json.dumps({"serial": serial, "lineage": lineage, "resources": resources, "outputs": values})


def test_the_contents_of_a_state_have_addresses_as_terraform_writes_them() -> None:
    many = instance("many")
    many["module"] = 'module.a["b"]'
    many["instances"] = [{"index_key": 0}, {"index_key": 'x"y'}, {"deposed": "0a1b2c3d"}, {"status": "tainted"}]
    assert list(state_contents(state(instance(), many, instance("data", mode="data"), word="good"))) == [
        "output.word",
        "aws_vpc.x",
        'module.a["b"].aws_vpc.many[0]',
        'module.a["b"].aws_vpc.many["x\\"y"]',
        'module.a["b"].aws_vpc.many (deposed object 0a1b2c3d)',
        'module.a["b"].aws_vpc.many (tainted)',
    ]
    assert state_contents("") == {}


def test_differences_name_attributes_and_no_values() -> None:
    """Names below an attribute can be values, such as the keys of a sensitive map."""
    changed = instance(attributes={"id": "2", "tags": {"hush": "hush"}, "ports": None})
    before, after = state(instance(), instance("old"), word="hush"), state(changed, instance("new"), word="other")
    assert state_differences(before, after) == [
        StateDifference("added", "aws_vpc.new"),
        StateDifference("removed", "aws_vpc.old"),
        StateDifference("changed", "aws_vpc.x", ("id", "tags")),
        StateDifference("changed", "output.word", ("value",)),
    ]
    assert state_differences(before, before) == []


@pytest.mark.parametrize(
    ("present", "serial"),
    [
        pytest.param(state(instance(), serial=9), 10, id="a later state"),
        pytest.param(state(instance(), serial=3), 8, id="an earlier state"),
        pytest.param(state(serial=1, lineage="new"), 8, id="an empty state with a new lineage"),
        pytest.param("", 8, id="no state"),
    ],
)
def test_a_restored_state_follows_the_present_one(present: str, serial: int) -> None:
    document = json.loads(succeeding_state("staging/network", state(instance()), present))
    assert document == {**json.loads(state(instance())), "serial": serial}


def test_a_state_of_another_lineage_is_refused() -> None:
    with pytest.raises(ChangeRefused, match="staging/network: the saved state has another lineage"):
        succeeding_state("staging/network", state(), state(instance(), lineage="other"))
