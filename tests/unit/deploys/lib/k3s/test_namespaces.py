"""The objects of developers' namespaces, and which namespaces can be deleted."""

from __future__ import annotations

import json

import kubernetes_validate

from deploys.lib.k3s import namespaces


def test_namespaces_match_the_schemas_of_kubernetes() -> None:
    manifest = json.loads(
        namespaces.namespaces_manifest([{"name": "ada", "cpu": 2}, {"name": "bob", "users": ["b@x"]}], hardened=False)
    )
    objects = manifest["items"]
    assert [each["kind"] for each in objects] == ["Namespace", "ResourceQuota", "LimitRange", "RoleBinding"] * 2
    for each in objects:
        kubernetes_validate.validate(each, "1.36", strict=True)
    assert objects[1]["spec"]["hard"]["limits.cpu"] == "2"
    assert objects[7]["subjects"][0]["name"] == "b@x"
    label, _, value = namespaces.MANAGED.partition("=")
    assert objects[0]["metadata"]["labels"] == {label: value}


def test_a_namespace_that_is_still_listed_is_not_deleted() -> None:
    assert namespaces.unlisted(["ada", "bob"], [{"name": "bob"}, {"name": "eve"}]) == ["ada"]
    assert list(namespaces.drop_faults(["ada"], [{"name": "bob"}])) == []
    assert list(namespaces.drop_faults([""], [])) == []
    [fault] = namespaces.drop_faults(["bob"], [{"name": "bob"}])
    assert fault == "k3s_drop_namespaces: k3s_namespaces still lists bob; remove it there first"
