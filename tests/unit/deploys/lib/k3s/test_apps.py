"""Apps of a cluster: their objects, what is refused, what a run changes, and how a Helm job ended."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploys.lib.k3s import apps
from deploys.lib.k3s.app_examples import EXAMPLES
from deploys.lib.k3s.apps import AppRecord, Release

ROOT = Path(__file__).parents[5]
CHART: dict[str, Any] = {
    "name": "shop",
    "namespace": "web",
    "chart": "shop",
    "repo": "https://charts.acme.example",
    "version": "1.2.0",
}
WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
MANIFESTS: dict[str, Any] = {"name": "shop", "namespace": "web", "manifests": [WEB]}


def faults(**changed: Any) -> list[str]:
    given = {key: value for key, value in {**CHART, **changed}.items() if value is not None}
    return [fault.removeprefix("apps: ") for fault in apps.app_faults([given], ROOT)]


def secret_object(**rest: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, **rest}


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"chrat": "shop"}, "shop: no such key: chrat"),
        ({"name": "Shop"}, "Shop: name is 'Shop'"),
        ({"namespace": None}, "shop: namespace is None"),
        ({"name": "traefik"}, "traefik: this chart is K3s's own"),
        ({"manifests": "deploys"}, "shop: set either chart or manifests"),
        ({"version": None}, "shop: version is missing"),
        ({"repo": None}, "shop: chart is shop; use a name with repo"),
        ({"chart": "https://acme.example/shop-1.tgz", "repo": None}, "shop: the URL of a chart has its version"),
        ({"chart": "oci://ghcr.io/acme/shop"}, "shop: chart is oci://ghcr.io/acme/shop; use a name"),
        ({"values": ["a"]}, "shop: values are not a dict"),
        ({"values": {"db": {"secret": {"evn": "X"}}}}, "shop: values: db: write"),
        ({"ready": ["pod/x"]}, "shop: ready has 'pod/x'"),
        ({"ready": "deployment/x"}, "shop: ready has 'deployment/x'; use a list"),
        ({"smoke": {"image": "curl"}}, "shop: smoke needs an image and a command"),
        ({"smoke": "curl"}, "shop: smoke is 'curl'"),
        ({"wait": True}, "shop: wait is True"),
        ({"chart": None, "manifests": [WEB]}, "shop: repo is for charts"),
        ({"chart": None, "repo": None, "manifests": "no/such"}, "shop: manifests can't be read"),
        ({"chart": None, "repo": None, "manifests": [{"kind": "Pod"}]}, "shop: an object in manifests has no"),
        (
            {"chart": None, "repo": None, "manifests": [secret_object(stringData={"password": "clear"})]},
            "shop: Secret/db: password is in clear",
        ),
        (
            {"chart": None, "repo": None, "manifests": [secret_object(data={"password": "Y2xlYXI="})]},
            "shop: Secret/db: data is in clear",
        ),
        (
            {"chart": None, "repo": None, "manifests": [{**WEB, "metadata": {"name": "web", "namespace": "other"}}]},
            "shop: Deployment/web is for namespace other",
        ),
        (
            {"chart": None, "repo": None, "manifests": [{**WEB, "spec": {"key": {"secret": {"env": "X"}}}}]},
            "shop: Deployment/web has a secret",
        ),
    ],
)
def test_group_data_is_refused_with_a_reason(changed: dict[str, Any], fault: str) -> None:
    assert [each for each in faults(**changed) if each.startswith(fault)], faults(**changed)


def test_good_group_data_has_no_faults_and_names_are_unique() -> None:
    smoke = {"image": "curl", "command": ["curl", "http://shop"], "seconds": 30, "secret": "db"}
    assert faults(smoke=smoke, ready=["deployment/web"], values={"db": {"secret": {"env": "X"}}}) == []
    assert list(apps.app_faults([CHART, CHART], ROOT)) == [
        "apps: shop is there 2 times; give each app a name of its own"
    ]
    for given in ({"name": "shop"}, ["nats"]):
        assert "this is not a list of apps" in "".join(apps.example_faults_of(given))
    assert list(apps.example_faults_of([{"example": "mysql"}, {"example": "nats", "ram": 1}])) == [
        "apps: there is no example 'mysql'; there are postgresql, valkey, s3, nats, monitoring",
        "apps: example nats: no such key: ram; allowed: example, image, memory, namespace, storage",
    ]


def test_secrets_of_values_are_in_a_secret_whose_name_changes_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "db": {"host": "pg", "password": {"secret": {"env": "SHOP_DB"}}},
        "keys": ["a", {"secret": {"env": "SHOP_DB"}}],
    }
    names = set()
    for word in ("one-word", "other-word"):
        monkeypatch.setenv("SHOP_DB", word)
        app = apps.app_of({**CHART, "values": values}, ROOT)
        [chart] = app.spec["objects"]
        assert json.loads(chart["spec"]["valuesContent"]) == {"db": {"host": "pg"}}
        [secret] = app.secrets
        text = secret["stringData"]["values.yaml"]
        assert json.loads(text) == {"db": {"password": word}, "keys": ["a", word]}
        assert secret["immutable"] is True
        assert chart["spec"]["valuesSecrets"] == [{"name": secret["metadata"]["name"], "keys": ["values.yaml"]}]
        assert word not in json.dumps(app.spec) + repr(app)
        names.add(secret["metadata"]["name"])
    assert len(names) == 2


def test_a_chart_becomes_a_helmchart_that_never_uninstalls() -> None:
    spec = apps.app_of(CHART, ROOT).spec
    [chart] = apps.with_policy(spec, apps.failure_policy("deployed"))
    assert chart["metadata"] == {"name": "shop", "namespace": "kube-system"}
    assert chart["spec"] == {
        "chart": "shop",
        "repo": "https://charts.acme.example",
        "version": "1.2.0",
        "targetNamespace": "web",
        "createNamespace": True,
        "valuesContent": "{}",
        "backOffLimit": 3,
        "timeout": "600s",
        "failurePolicy": "abort",
    }
    policies = {state: apps.failure_policy(state) for state in ("", "deployed", "failed", "pending-upgrade")}
    assert policies == {"": "abort", "deployed": "abort", "failed": "retry", "pending-upgrade": "retry"}


def test_manifests_are_read_from_files_and_their_workloads_are_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        yaml.safe_dump_all([WEB, secret_object(stringData={"a": {"secret": {"env": "PATH"}}})])
    )
    (tmp_path / "b.yml").write_text(
        yaml.safe_dump(
            {"apiVersion": "v1", "kind": "List", "items": [WEB | {"kind": "DaemonSet", "on": date(2026, 1, 1)}]}
        )
    )
    given = {**MANIFESTS, "manifests": "."}
    assert list(apps.app_faults([given], tmp_path)) == []
    app = apps.app_of(given, tmp_path)
    assert [apps.object_name(each) for each in app.spec["objects"]] == [
        "Namespace/web",
        "Deployment/web",
        "DaemonSet/web",
    ]
    assert app.spec["ready"] == ["deployment/web", "daemonset/web"]
    assert [each["stringData"] for each in app.secrets] != [{"a": {"secret": {"env": "PATH"}}}]
    removed = apps.removed_objects(AppRecord(app.spec))
    assert [apps.object_name(each) for each in removed] == ["Secret/db", "DaemonSet/web", "Deployment/web"]


def test_a_namespace_of_the_manifests_is_there_once_and_stays_as_definitions_do() -> None:
    shared = [{**WEB, "kind": kind, "metadata": {"name": "web"}} for kind in apps.SHARED_KINDS]
    spec = apps.app_of({**MANIFESTS, "manifests": [*shared, WEB]}, ROOT).spec
    assert spec["objects"] == [*shared, WEB]
    assert apps.removed_objects(AppRecord(spec)) == [WEB]


def test_a_run_says_what_it_changes() -> None:
    old = apps.app_of({**CHART, "values": {"image": {"tag": "1"}, "gone": True}}, ROOT).spec
    new = apps.app_of({**CHART, "version": "1.3.0", "values": {"image": {"tag": "2"}, "replicas": 2}}, ROOT).spec
    assert apps.differences(AppRecord(), new, lambda: False) == ["install 1.3.0"]
    assert apps.differences(AppRecord(new), new, lambda: True) == []
    assert apps.differences(AppRecord(new), new, lambda: False) == ["the cluster differs from group data"]
    assert apps.differences(AppRecord(new, new), new, lambda: True) == ["the last run failed, or did not finish"]
    assert apps.differences(AppRecord(old), new, lambda: False) == [
        "version 1.2.0 → 1.3.0",
        "values: gone is removed",
        "values: image.tag changes",
        "values: replicas is new",
    ]
    less = apps.app_of(MANIFESTS, ROOT).spec
    more = apps.app_of({**MANIFESTS, "manifests": [WEB, {**WEB, "kind": "ConfigMap"}]}, ROOT).spec
    assert apps.differences(AppRecord(more), less, lambda: False) == ["ConfigMap/web stays, no longer listed"]


def test_an_app_does_not_move_and_only_an_unlisted_one_is_removed() -> None:
    app = apps.app_of(CHART, ROOT)
    assert list(apps.move_faults(app, AppRecord(app.spec))) == []
    [fault] = apps.move_faults(app, AppRecord(apps.app_of(MANIFESTS, ROOT).spec))
    assert "runs in namespace web from manifests" in fault
    assert list(apps.removal_faults(["old"], ["shop"], ["old", "shop"])) == []
    assert list(apps.removal_faults(["shop", "x"], ["shop"], ["old", "shop"])) == [
        "remove: apps still lists shop; remove it there first",
        "remove: x is not an app that groundcrew deployed; there are: old, shop",
    ]


def test_a_chart_of_someone_else_is_left_alone() -> None:
    app = apps.app_of(CHART, ROOT)
    [fault] = apps.foreign_faults(app, AppRecord(), ["shop", "traefik"])
    assert fault.startswith("apps: kube-system already has a HelmChart shop, which is not groundcrew's")
    assert list(apps.foreign_faults(app, AppRecord(), ["traefik"])) == []
    assert list(apps.foreign_faults(app, AppRecord(None, app.spec), ["shop"])) == []


def test_a_run_that_begins_is_not_forgotten_until_it_passes() -> None:
    old, new = (apps.app_of({**CHART, "version": version}, ROOT).spec for version in ("1", "2"))
    assert AppRecord().begun(new) == AppRecord(None, new)
    assert AppRecord(old).begun(new, "uid") == AppRecord(old, new, "uid")
    assert AppRecord(old).begun(old) == AppRecord(old, old), "only a secret changes, or the cluster differs"
    assert AppRecord(old, new).begun(old) == AppRecord(old, new), "the run goes back"


def test_a_record_survives_the_cluster() -> None:
    spec = apps.app_of(CHART, ROOT).spec
    for record in (AppRecord(spec), AppRecord(None, spec, "uid-1"), AppRecord(spec, spec)):
        kept = record.as_object("shop")
        kubernetes_validate.validate(kept, "1.36", strict=True)
        assert apps.parse_records({"items": [kept]}) == {"shop": record}


def helm_job(uid: str, config: str = "", **conditions: str) -> dict[str, Any]:
    annotations = {"helmcharts.helm.cattle.io/configHash": f"SHA256={config}"}
    listed = [{"type": kind, "status": status} for kind, status in conditions.items()]
    spec = {"template": {"metadata": {"annotations": annotations if config else None}}}
    return {"metadata": {"uid": uid}, "spec": spec, "status": {"conditions": listed}}


@pytest.mark.parametrize(
    ("job", "release", "outcome"),
    [
        (None, Release(), ""),
        (helm_job("before", Complete="True"), Release("deployed"), ""),
        (helm_job("new", Suspended="True"), Release(), ""),
        (helm_job("new", Complete="True"), Release("deployed"), "done"),
        (helm_job("new", Complete="True"), Release("pending-upgrade"), ""),
        (helm_job("new", Complete="True"), Release("failed"), "failed"),  # with the policy retry
        (helm_job("new", "A" * 64, Complete="True"), Release("deployed", "A" * 63), "done"),
        (helm_job("new", "A" * 64, Complete="True"), Release("deployed", "B" * 63), ""),
        (helm_job("new", Complete="False", Failed="True"), Release("deployed"), "failed"),
    ],
)
def test_a_helm_job_is_done_once_its_own_release_is_deployed(
    job: dict[str, Any] | None, release: Release, outcome: str
) -> None:
    assert apps.job_outcome(job, "before", release) == outcome


def test_a_failed_job_says_why() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    assert apps.job_end({"status": {"conditions": [failed]}}) == "failed (DeadlineExceeded)"
    assert apps.job_end(helm_job("x", Complete="True")) == "Complete"
    assert apps.job_end(None) == apps.job_end({"metadata": {}}) == ""


def test_the_newest_release_counts() -> None:
    assert apps.parse_helm_release([]) == Release()
    assert apps.parse_helm_release(["9 superseded X", "10 deployed Y", ""]) == Release("deployed", "Y")
    assert apps.parse_helm_release(["1 failed "]) == Release("failed")


def test_the_smoke_test_may_run_in_a_hardened_namespace() -> None:
    smoke = {"image": "curl", "command": ["curl", "http://shop"], "secret": "db"}
    job = apps.smoke_job("shop", apps.app_of({**CHART, "smoke": smoke}, ROOT).spec)
    kubernetes_validate.validate(job, "1.36", strict=True)
    pod = job["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "db"}}]


def test_the_examples_are_valid_and_as_big_as_the_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.setenv(f"SHARED_{name}", "example")
    monkeypatch.setenv("GRAFANA_PASSWORD", "example")
    listed = apps.expanded([{"example": name} for name in EXAMPLES])
    assert list(apps.app_faults(listed, ROOT)) == []
    found = {app.name: app for app in (apps.app_of(each, ROOT) for each in listed)}
    assert [fault for app in found.values() for fault in apps.size_faults(app)] == []
    memory = {}
    for name in ("postgresql", "valkey", "s3", "nats"):
        for each in [*found[name].secrets, *found[name].spec["objects"]]:
            kubernetes_validate.validate(each, "1.36", strict=True)
        [container] = found[name].spec["objects"][-1]["spec"]["template"]["spec"]["containers"]
        memory[name] = container["resources"]["limits"]["memory"]
    assert memory == {"postgresql": "8Gi", "valkey": "2Gi", "s3": "2Gi", "nats": "1Gi"}
    [chart] = found["monitoring"].spec["objects"]
    values = json.loads(chart["spec"]["valuesContent"])
    [group] = values["additionalPrometheusRulesMap"]["groundcrew"]["groups"]
    assert group["name"] == "groundcrew"
    assert (
        "groundcrew" in json.loads(values["grafana"]["dashboards"]["groundcrew"]["groundcrew"]["json"])["title"].lower()
    )
    small = apps.expanded([{"example": "postgresql", "memory": "4Gi"}])
    assert "4Gi" in json.dumps(small)
