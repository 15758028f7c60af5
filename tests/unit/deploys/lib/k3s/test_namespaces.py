"""The objects of developers' namespaces, and which namespaces can be deleted."""

from __future__ import annotations

import json

import kubernetes_validate

from deploys.lib.k3s import namespaces


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
