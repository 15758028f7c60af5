"""Staging as it is shipped, applied to an emulator by an old and a new Terraform, and what happens to it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
import zstandard

from jobs.run.record import records
from jobs.store import open_store
from tests.parts import github
from tests.parts.cloud import PASSWORD, Cloud, cloud
from tests.parts.terraform import NEW, OLD, ROOT, program

VPC = "module.network.aws_vpc.this"
GROUP = "module.cluster[0].aws_security_group.this"
AGENT = 'module.cluster[0].aws_instance.this["agent-1"]'
TOPIC = "module.monitoring.aws_sns_topic.alerts"


@pytest.fixture(scope="module", params=[OLD, NEW])
def staging(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Applied once; the tests below tell one story, in their order."""
    with cloud(tmp_path_factory.mktemp("cloud"), request.param) as made:
        yield made


def drift(staging: Cloud, code: int, *args: str) -> list[tuple[str, str, str]]:
    [environment] = staging.told("drift", "staging", *args, code=code)["environments"]
    findings = [(stack["stack"], one) for stack in environment["stacks"] for one in stack["findings"]]
    return sorted(
        (stack, one["kind"], f"{one['address']} {one['attribute'] or ''}".strip())
        for stack, one in findings
        if not one["ignored"]
    )


def edit_outside(staging: Cloud) -> None:
    """Two tags of one resource, an open port, a deleted topic."""
    ec2, sns = staging.client("ec2"), staging.client("sns")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.20.0.0/16"]}])["Vpcs"]
    ec2.create_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Owner", "Value": "mallory"}, {"Key": "Own", "Value": "1"}])
    [group] = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["acme-staging-cluster"]}])[
        "SecurityGroups"
    ]
    opened = {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[opened])
    for topic in sns.list_topics()["Topics"]:
        sns.delete_topic(TopicArn=topic["TopicArn"])


@pytest.mark.timeout(600)  # the provider waits half a minute for a database, whatever the emulator says
def test_the_story_of_staging(staging: Cloud) -> None:
    before_there_is_a_bucket(staging)
    bootstrapped_twice(staging)
    applied_and_clean(staging)
    saved_and_sealed(staging)
    hosts_for_pyinfra(staging)
    told_apart(staging)
    told_on_github(staging)
    watched_as_a_job(staging)
    mended(staging)


def before_there_is_a_bucket(staging: Cloud) -> None:
    ended = staging.crew("stacks", "plan", "staging", "network")
    assert ended.returncode == 1
    assert "crew stacks bootstrap staging" in ended.stdout


def bootstrapped_twice(staging: Cloud) -> None:
    assert staging.told("stacks", "bootstrap", "staging")["done"][0].startswith(f"bucket {staging.bucket} made")
    bucket = f"bucket {staging.bucket} was there; it is versioned, encrypted and closed to the public"
    table = ["table locks was there"] if staging.version == OLD else []
    assert staging.told("stacks", "bootstrap", "staging")["done"] == [bucket, *table]
    s3 = staging.client("s3")
    assert s3.get_bucket_versioning(Bucket=staging.bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=staging.bucket)["PublicAccessBlockConfiguration"].values())


def applied_and_clean(staging: Cloud) -> None:
    ended = staging.crew("stacks", "apply", "staging")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "network: module.network.aws_vpc.this: Creating..." in ended.stderr
    assert "staging/network: 7 to create" in ended.stdout
    assert PASSWORD not in ended.stdout + ended.stderr
    staging.settle()
    assert drift(staging, 0, "--fail-on", "pending") == []
    keys = {entry["Key"] for entry in staging.client("s3").list_objects_v2(Bucket=staging.bucket)["Contents"]}
    assert keys == {f"staging/{name}" for name in staging.environment.stacks}


def saved_and_sealed(staging: Cloud) -> None:
    """A second apply saves what the first has made, so that only the key opens it."""
    staging.set("backups", "bucket =", "undelete_days = 15\nbucket =")
    staging.told("stacks", "apply", "staging", "backups")
    newest = max((staging.root / "store" / "staging" / "state" / "backups").glob("*.tfstate.zst.age"))
    assert b"acme-staging" not in newest.read_bytes()
    opened = pyrage.decrypt(newest.read_bytes(), [pyrage.x25519.Identity.from_str(staging.identity)])
    state = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(opened))
    assert "acme-staging-backups-writer" in json.dumps(state["resources"])


def hosts_for_pyinfra(staging: Cloud) -> None:
    told = staging.told("stacks", "output", "staging", "cluster")["stacks"]["cluster"]["pyinfra_inventory"]
    [server], [agent] = told["k3s_servers"], told["k3s_agents"]
    assert (server["name"], agent["name"]) == ("acme-staging-server-1", "acme-staging-agent-1")
    inventory = staging.root / "inventories" / "staging"
    inventory.write_text(
        'from terraform.hosts import hosts\n\nk3s_servers = hosts("staging", "cluster")["k3s_servers"]\n'
        'k3s_agents = hosts("staging", "cluster")["k3s_agents"]\n'
    )
    read = debug_inventory(staging, str(inventory))
    assert server["ssh_hostname"] in read
    assert "k3s_agents" in read
    by_connector = debug_inventory(
        staging, "@terraform", cwd=staging.root / "terraform" / "stacks" / "cluster",
        TF_DATA_DIR=str(staging.root / ".cache" / "terraform" / "staging" / "cluster"),
        PATH=f"{program(staging.version).parent}:{os.environ['PATH']}",
    )  # fmt: skip
    assert server["ssh_hostname"] in by_connector
    inventory.write_text("servers = []\n")


def debug_inventory(staging: Cloud, inventory: str, cwd: Path | None = None, **more: str) -> str:
    import sys

    argv = [str(Path(sys.executable).with_name("pyinfra")), inventory, "debug-inventory"]
    environment = staging.process_environment(**more)
    ended = subprocess.run(argv, cwd=cwd or staging.root, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def told_apart(staging: Cloud) -> None:
    edit_outside(staging)
    staging.set("cluster", "disk = 80", "disk = 90")
    assert drift(staging, 2) == [
        ("cluster", "changed", f"{GROUP} ingress"),
        ("cluster", "pending", f"{AGENT} root_block_device.0.volume_size"),
        ("monitoring", "missing", TOPIC),
        ("network", "changed", f"{VPC} tags.Own"),
        ("network", "changed", f"{VPC} tags.Owner"),
    ]


def told_on_github(staging: Cloud) -> None:
    """One issue, made, kept in step, and closed: as the workflow does it, with the same script."""
    folder = github.programs(staging.root / "bin", staging.root)

    def issues(script: str, *args: str) -> list[dict[str, Any]]:
        environment = staging.process_environment(PATH=f"{folder}:{os.environ['PATH']}")
        argv = [str(ROOT / "terraform" / "ci" / script), *args]
        ended = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        found: list[dict[str, Any]] = json.loads((folder / "issues.json").read_text())
        return found

    [issue] = issues("drift.sh", "staging")
    assert (issue["title"], issue["open"], issue["edits"]) == ("Drift in staging", True, 0)
    assert "mallory" in issue["body"]
    [issue] = issues("drift.sh", "staging")
    assert (issue["open"], issue["edits"]) == (True, 1)
    _, comment = issues("plan.sh", "staging", "17")
    assert comment["body"].startswith("<!-- crew stacks plan staging -->")
    assert "1 to update" in comment["body"]


def watched_as_a_job(staging: Cloud) -> None:
    ignore = f'{{ resource = "{VPC}", attribute = "tags.*", why = "somebody tries tags" }}'
    gone = '{ resource = "aws_instance.gone", why = "was there once" }'
    staging.settings(more=f"[drift]\nignore = [{ignore}, {gone}]\n")
    told: dict[str, Any] = {
        one["subject"]: one["outcome"] for one in staging.told("run", "drift", "staging", code=2)["runs"]
    }
    assert told == {
        "network": "done", "cluster": "finding", "database": "done", "backups": "done", "monitoring": "finding",
    }  # fmt: skip
    environment = staging.environment
    assert environment.store
    [record] = records(open_store(environment.store), "staging", "drift", "monitoring")
    assert record.sentence == f"1 missing (missing: {TOPIC})"
    [report] = staging.told("drift", "staging", code=2)["environments"]
    assert [rule["resource"] for rule in report["unmatched_rules"]] == ["aws_instance.gone"]
    staging.settings()


def mended(staging: Cloud) -> None:
    """Applying brings back what the code says; the guard holds what must not be lost."""
    staging.settings(keep=["aws_s3_bucket"])
    ended = staging.crew("stacks", "apply", "staging", "network", "cluster", "monitoring")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    environment = staging.process_environment(PATH=f"{staging.root}/bin:{os.environ['PATH']}")
    argv = [ROOT / "terraform" / "ci" / "drift.sh", "staging"]
    looked = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert [one["open"] for one in json.loads((staging.root / "bin" / "issues.json").read_text())] == [False, True]
    refused = staging.crew("stacks", "destroy", "staging", "backups")
    assert refused.returncode == 1
    assert "module.backups.aws_s3_bucket.this (terraform.keep has aws_s3_bucket)" in refused.stdout
