"""The objects of developers' namespaces, and which namespaces can be deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import kubernetes_validate
import pytest
from pyinfra.api import State
from pyinfra.context import ctx_state

from deploys.lib.k3s import cluster, namespaces
from deploys.lib.messages import report_failure


def test_namespaces_match_the_schemas_of_kubernetes() -> None:
    given = [{"name": "ada", "cpu": 2}, {"name": "bob", "users": ["b@x"], "viewers": ["qa"]}]
    manifest = json.loads(namespaces.namespaces_manifest(given, ["eve"], hardened=False))
    objects = manifest["items"]
    kinds = ["Namespace", "ResourceQuota", "LimitRange", "RoleBinding", "RoleBinding"]
    assert [each["kind"] for each in objects] == [*kinds, *kinds, "ClusterRoleBinding"]
    for each in objects:
        kubernetes_validate.validate(each, "1.36", strict=True)
    assert objects[1]["spec"]["hard"]["limits.cpu"] == "2"
    bindings = [each for each in objects if each["kind"].endswith("Binding")]
    people = [(each["roleRef"]["name"], [one["name"] for one in each["subjects"]]) for each in bindings]
    assert people == [
        ("edit", ["ada"]), ("view", []), ("edit", ["b@x"]), ("view", ["qa"]), ("cluster-admin", ["eve"]),
    ]  # fmt: skip
    label, _, value = namespaces.MANAGED.partition("=")
    assert objects[0]["metadata"]["labels"] == {label: value}


def test_a_namespace_that_is_still_listed_is_not_deleted() -> None:
    assert namespaces.unlisted(["ada", "bob"], [{"name": "bob"}, {"name": "eve"}]) == ["ada"]
    assert list(namespaces.deletion_faults(["ada"], [{"name": "bob"}])) == []
    assert list(namespaces.deletion_faults([""], [])) == []
    [fault] = namespaces.deletion_faults(["bob"], [{"name": "bob"}])
    assert fault == "k3s_drop_namespaces: k3s_namespaces still lists bob; remove it there first"


OPERATIONS: dict[str, Callable[[], Iterator[Any]]] = {
    "apply": lambda: namespaces.apply_namespaces._inner("{}", ["one", "two"]),
    "delete": lambda: namespaces.delete_namespaces._inner(["ada"], [], ["one", "two"]),
}
STEPS = {"apply": namespaces._apply, "delete": namespaces._delete}
REFUSED = "The connection to the server 127.0.0.1:6443 was refused"


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("executing", [True, False])
def test_an_api_that_does_not_answer_is_an_error_unless_the_run_only_plans(
    monkeypatch: pytest.MonkeyPatch, name: str, executing: bool
) -> None:
    said: list[str] = []
    monkeypatch.setattr(cluster, "run_on", lambda *_: (False, [REFUSED]))
    monkeypatch.setattr(namespaces, "log_message", lambda _host, message: said.append(message))
    monkeypatch.setattr(namespaces, "installed_version", lambda: "v1.36.4+k3s1")
    with ctx_state.use(cast("State", SimpleNamespace(is_executing=executing))):
        steps = list(OPERATIONS[name]())
    if executing:
        [step] = steps
        assert step.function is report_failure
        said = [*step.args]
    else:
        assert [step.function for step in steps] == [STEPS[name]] * (name == "apply")
    [message] = said
    assert message.startswith("no server of the cluster has an answer:")
    assert [f"{server}: " in message for server in ("one", "two")] == [True, True]
    assert message.count(REFUSED) == 2


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_server_that_does_not_answer_leaves_it_to_the_next_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    answers = {"one": (False, [REFUSED]), "two": (True, ["namespace/ada", "different"])}
    monkeypatch.setattr(cluster, "run_on", lambda server, *_: answers[server])
    monkeypatch.setattr(namespaces, "log_message", lambda *_: None)
    assert [step.function for step in OPERATIONS[name]()] == [STEPS[name]]
