"""The shipped staging environment on an AWS emulator."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pyrage
import pytest
import zstandard
from botocore.exceptions import ClientError

from jobs.run.record import records
from jobs.store import Denied, open_store
from terraform.paths import StackPaths
from tests.parts import github
from tests.parts.cloud import PASSWORD, REGION, Cloud, add_debian_image, cloud
from tests.parts.terraform import NEW, ROOT, program

VPC = "module.network.aws_vpc.this"
GROUP = "module.cluster[0].aws_security_group.this"
AGENT = 'module.cluster[0].aws_instance.this["agent-1"]'
DATABASE = "module.database.aws_db_instance.primary"
JOBS = "arn:aws:iam::123456789012:user/jobs"
REPLICA = 'replica_bucket = "acme-replica-staging"\nreplica_region = "eu-west-1"\n'
NETWORK = {"network": ()}
"""Only this stack: a command for all stacks takes a minute of CPU."""
TOPIC = "module.monitoring.aws_sns_topic.alerts"


def drift(staging: Cloud, code: int, *args: str, **more: str) -> list[tuple[str, str, str]]:
    [environment] = staging.run_json("drift", "staging", *args, code=code, **more)["environments"]
    findings = [(stack["stack"], one) for stack in environment["stacks"] for one in stack["findings"]]
    return sorted(
        (stack, one["kind"], f"{one['address']} {one['attribute'] or ''}".strip())
        for stack, one in findings
        if not one["ignored"]
    )


def edit_outside(staging: Cloud) -> None:
    """Change two tags of one resource, open a port, delete a topic, and change a value that the code does not set."""
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
    window = {"PreferredMaintenanceWindow": "sun:05:00-sun:06:00"}
    staging.client("rds").modify_db_instance(DBInstanceIdentifier="acme-staging", **window)


@pytest.mark.long
def test_the_life_of_staging(tmp_path: Path) -> None:
    with cloud(tmp_path, NEW) as staging:
        add_debian_image(staging)
        plan_without_a_bucket(staging)
        bootstrap_twice(staging)
        apply_and_find_no_drift(staging)
        validate(staging)
        check_tags(staging)
        save_an_encrypted_state(staging)
        separate_the_permissions_of_roles(staging)
        list_hosts_for_pyinfra(staging)
        find_all_kinds_of_drift(staging)
        staging.settings(NETWORK)
        hash_providers_once(staging)
        report_on_github(staging)
        run_drift_as_a_job(staging)
        apply_reverts_drift(staging)
        close_the_issue(staging)
        plan_copies_of_database_backups(staging)
        keep_destroy_and_lock(staging)


def plan_without_a_bucket(staging: Cloud) -> None:
    ended = staging.crew("stacks", "plan", "staging", "network")
    assert ended.returncode == 1
    assert "crew stacks bootstrap staging" in ended.stdout


def bootstrap_twice(staging: Cloud) -> None:
    assert staging.run_json("stacks", "bootstrap", "staging")["done"][0].startswith(f"bucket {staging.bucket} created")
    bucket = f"bucket {staging.bucket} already exists; versioning, encryption and the public access block are on"
    bucket += "; requests need TLS; old states are kept for a year"
    assert staging.run_json("stacks", "bootstrap", "staging")["done"] == [bucket]
    s3 = staging.client("s3")
    assert s3.get_bucket_versioning(Bucket=staging.bucket)["Status"] == "Enabled"
    [rule] = s3.get_bucket_encryption(Bucket=staging.bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert all(s3.get_public_access_block(Bucket=staging.bucket)["PublicAccessBlockConfiguration"].values())


def apply_and_find_no_drift(staging: Cloud) -> None:
    ended = staging.crew("stacks", "apply", "staging", "--yes")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "network: module.network.aws_vpc.this: Creating..." in ended.stderr
    assert "staging/network: 16 to create" in ended.stdout
    assert PASSWORD not in ended.stdout + ended.stderr
    staging.settle()
    assert drift(staging, 0, "--fail-on", "pending") == []
    keys = {entry["Key"] for entry in staging.client("s3").list_objects_v2(Bucket=staging.bucket)["Contents"]}
    assert keys == {f"staging/{name}" for name in staging.environment.stacks}


def validate(staging: Cloud) -> None:
    for stack in staging.environment.stacks:
        paths = StackPaths(staging.root, "staging", stack)
        argv, environment = [program(staging.version), "validate", "-json"], {"TF_DATA_DIR": str(paths.data_folder)}
        ended = subprocess.run(
            argv, cwd=paths.folder, env=staging.process_environment(**environment), capture_output=True, check=False
        )
        result = json.loads(ended.stdout)
        assert (result["valid"], result["warning_count"]) == (True, 0), result


def check_tags(staging: Cloud) -> None:
    """Every resource that supports tags has the default tags, also the disks of hosts."""
    wanted = {"Environment", "Project", "Owner", "CostCenter"}
    s3, ec2 = staging.client("s3"), staging.client("ec2")
    tagged = []
    for stack in staging.environment.stacks:
        state = json.loads(s3.get_object(Bucket=staging.bucket, Key=f"staging/{stack}")["Body"].read())
        for resource in (one for one in state["resources"] if one["mode"] == "managed"):
            for instance in (one["attributes"] for one in resource["instances"]):
                if "tags_all" in instance:
                    assert wanted <= set(instance["tags_all"]), instance
                    tagged.append(resource["type"])
    assert {"aws_vpc", "aws_instance", "aws_db_instance", "aws_s3_bucket", "aws_sns_topic", "aws_iam_role"} <= {*tagged}
    for host in tagged_hosts(ec2):
        disks = ec2.describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [host]}])["Volumes"]
        assert disks
        assert all(wanted <= {tag["Key"] for tag in disk["Tags"]} for disk in disks)


def tagged_hosts(ec2: Any) -> list[str]:
    found = ec2.describe_instances(Filters=[{"Name": "tag:Environment", "Values": ["staging"]}])["Reservations"]
    return [host["InstanceId"] for one in found for host in one["Instances"]]


def save_an_encrypted_state(staging: Cloud) -> None:
    """A second apply saves the state of the first one, encrypted."""
    staging.set("backups", "bucket =", f'trusted = ["{JOBS}"]\nundelete_days = 15\nbucket =')
    staging.run_json("stacks", "apply", "staging", "--yes", "backups")
    newest = max((staging.root / "store" / "staging" / "state" / "backups").glob("*.tfstate.zst.age"))
    assert b"acme-staging" not in newest.read_bytes()
    opened = pyrage.decrypt(newest.read_bytes(), [pyrage.x25519.Identity.from_str(staging.identity)])
    state = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(opened))
    assert "acme-staging-backups-writer" in json.dumps(state["resources"])


def separate_the_permissions_of_roles(staging: Cloud) -> None:
    """Use the profiles of the stack's output on an emulator that checks permissions."""
    outputs = staging.run_json("stacks", "output", "staging", "backups")["stacks"]["backups"]
    profiles = {"backup": "writer", "retention": "pruner", "verify": "restorer"}
    profiles = {job: f"acme-staging-{role}" for job, role in profiles.items()}
    set_, verification, pin = (
        f"staging/backups/shop/20261121T020000Z-3f9a/{name}"
        for name in ("p", "verifications/20261122T020000.000Z-passed-00", "pin")
    )
    folder = set_.rpartition("/")[0]
    ends = [f"{folder}/{name}" for name in ("ended/20261121T020400.000Z-age-00", "manifest.json", "manifest.json.sig")]
    state = "staging/state/network/20261121T020000Z.tfstate.zst.age"
    with staging.asking_who_it_is(name="jobs") as known, pytest.MonkeyPatch.context() as patch:
        config = staging.root / "aws-config"
        config.write_text(f"[profile default]\n{outputs['aws_config']}")
        for name, value in {**known, "AWS_CONFIG_FILE": str(config), "AWS_ENDPOINT_URL_STS": staging.endpoint}.items():
            patch.setenv(name, value)
        keys = "\n".join(f"{name.lower()} = {value}" for name, value in known.items())
        (staging.root / "aws-keys").write_text(f"[default]\n{keys}\n")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(staging.root / "aws-keys"))
        settings = staging.environment.store
        assert settings
        settings = replace(
            settings,
            url=f"s3://{outputs['bucket']}/groundcrew",
            region=REGION,
            endpoint=staging.endpoint,
            profiles=profiles,
        )
        writer, pruner, restorer = (open_store(settings, job) for job in profiles)
        for store in (writer, pruner, restorer):
            store.require_conditional_writes()
            store.put("staging/runs/20261121/any.json", b"a record")
        writer.put(set_, b"a part")
        writer.put(pin, b"")
        for key in ends:
            writer.put(key, b"")
        with pytest.raises(Denied):
            writer.put(verification, b"a verification")
        with pytest.raises(Denied):
            pruner.put(set_, b"another")
        with pytest.raises(Denied):
            restorer.put(set_, b"another")
        assert restorer.get(set_).body == b"a part"
        restorer.put(verification, b"a verification")
        with pytest.raises(Denied):
            restorer.put(f"{pin}/another", b"")
        for store in (writer, pruner, restorer):
            with pytest.raises(Denied):
                store.put(state, b"a state")
        # One by one: for a batch, the emulator also requires a permission on the bucket, which AWS does not.
        for job, may in (("backup", False), ("verify", False), ("retention", True)):
            s3 = boto3.Session(profile_name=profiles[job], region_name=REGION).client(
                "s3", endpoint_url=staging.endpoint
            )
            for key in (set_, verification, pin, *ends):
                with nullcontext() if may else pytest.raises(ClientError, match="AccessDenied"):
                    s3.delete_object(Bucket=outputs["bucket"], Key=f"groundcrew/{key}")
        assert list(writer.list("staging/backups/")) == []


def list_hosts_for_pyinfra(staging: Cloud) -> None:
    hosts = staging.run_json("stacks", "output", "staging", "cluster")["stacks"]["cluster"]["pyinfra_inventory"]
    [server], [agent] = hosts["k3s_servers"], hosts["k3s_agents"]
    assert (server["name"], agent["name"]) == ("acme-staging-server-1", "acme-staging-agent-1")
    inventory = staging.root / "inventories" / "staging"
    inventory.write_text(
        'from terraform.hosts import stack_hosts\n\nk3s_servers = stack_hosts("staging", "cluster")["k3s_servers"]\n'
        'k3s_agents = stack_hosts("staging", "cluster")["k3s_agents"]\n'
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


READING = [
    *("s3:Get*", "s3:List*", "s3:HeadBucket", "ec2:Describe*", "rds:Describe*", "rds:List*", "iam:Get*", "iam:List*"),
    *("sns:Get*", "sns:List*", "budgets:View*", "budgets:Describe*", "budgets:List*", "sts:GetCallerIdentity"),
    *("kms:Describe*", "kms:Get*", "kms:List*", "logs:Describe*", "logs:List*"),
]


def find_all_kinds_of_drift(staging: Cloud) -> None:
    """All kinds of findings, with read-only credentials."""
    edit_outside(staging)
    staging.set("cluster", "disk = 80", "disk = 90")
    versions = staging.client("s3").list_object_versions
    before = [(one["Key"], one["VersionId"]) for one in versions(Bucket=staging.bucket)["Versions"]]
    with staging.asking_who_it_is(READING) as reader:
        found = drift(staging, 2, **reader)
        refused = staging.failure("stacks", "plan", "staging", "network", **reader)
    assert "AWS rejected the credentials, or they lack a permission" in refused
    assert [(one["Key"], one["VersionId"]) for one in versions(Bucket=staging.bucket)["Versions"]] == before
    assert found == [
        ("cluster", "changed", f"{GROUP} ingress"),
        ("cluster", "pending", f"{AGENT} root_block_device.0.volume_size"),
        ("database", "state only", f"{DATABASE} maintenance_window"),
        ("monitoring", "missing", TOPIC),
        ("monitoring", "pending", "module.monitoring.aws_budgets_budget.month"),  # its alerts go to the new topic
        ("network", "changed", f"{VPC} tags.Own"),
        ("network", "changed", f"{VPC} tags.Owner"),
    ]


def hash_providers_once(staging: Cloud) -> None:
    """Show the plan in a folder without hashes, since Terraform would hash the providers a second time."""
    shows = staging.root / "shows"
    lines = f'[ "$1" = show ] && echo "$(grep -c hashes .terraform.lock.hcl) $PWD" >> {shows}'
    staging.settings(NETWORK, program=staging.script("watched", f'{lines}\nexec {program(staging.version)} "$@"'))
    assert drift(staging, 2) == [("network", "changed", f"{VPC} tags.Own"), ("network", "changed", f"{VPC} tags.Owner")]
    [line] = shows.read_text().splitlines()
    assert line.startswith(f"0 {StackPaths(staging.root, 'staging', 'network').data_folder}/plan-")
    staging.settings(NETWORK)


def report_on_github(staging: Cloud) -> None:
    """The scripts of the workflows create, update and close one issue."""
    folder = github.programs(staging.root / "bin", staging.root)

    def issues(script: str, *args: str, **more: str) -> list[dict[str, Any]]:
        environment = staging.process_environment(PATH=f"{folder}:{os.environ['PATH']}", **more)
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
    with staging.asking_who_it_is(READING) as reader:
        _, comment = issues("plan.sh", "staging", "17", **reader)
    assert comment["body"].startswith("<!-- crew stacks plan staging -->")
    assert "1 to update" in comment["body"]


def run_drift_as_a_job(staging: Cloud) -> None:
    ignore = f'{{ resource = "{VPC}", attribute = "tags.*", why = "somebody tries tags" }}'
    gone = '{ resource = "aws_instance.gone", why = "was there once" }'
    staging.settings({**NETWORK, "monitoring": ()}, more=f"[drift]\nignore = [{ignore}, {gone}]\n")
    outcomes: dict[str, Any] = {
        one["subject"]: one["outcome"] for one in staging.run_json("run", "drift", "staging", code=2)["runs"]
    }
    assert outcomes == {"network": "done", "monitoring": "finding"}
    environment = staging.environment
    assert environment.store
    [record] = records(open_store(environment.store), "staging", "drift", "monitoring")
    assert record.sentence == f"1 missing, 1 pending (missing: {TOPIC})"
    [report] = staging.run_json("drift", "staging", code=2)["environments"]
    assert [rule["resource"] for rule in report["unmatched_rules"]] == ["aws_instance.gone"]


def apply_reverts_drift(staging: Cloud) -> None:
    """An apply reverts drift, and records the values that the code does not set."""
    staging.settings({**NETWORK, "database": ("network",)})
    ended = staging.crew("stacks", "apply", "staging", "--yes")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"record {DATABASE} maintenance_window" in ended.stdout
    assert "1 changed outside, recorded in the state" in ended.stdout


def close_the_issue(staging: Cloud) -> None:
    staging.settings(NETWORK)
    environment = staging.process_environment(PATH=f"{staging.root}/bin:{os.environ['PATH']}")
    argv = [ROOT / "terraform" / "ci" / "drift.sh", "staging"]
    completed = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert [one["open"] for one in json.loads((staging.root / "bin" / "issues.json").read_text())] == [False, True]


def plan_copies_of_database_backups(staging: Cloud) -> None:
    """The emulator has no copies of automated backups, so they are only planned."""
    staging.settings({**NETWORK, "database": ("network",)})
    staging.set("database", "disk ", 'backup_region = "eu-west-1"\ndisk ')
    [planned] = staging.run_json("stacks", "plan", "staging", "database")["stacks"]
    copies = "module.database_backups[0]"
    assert sorted((each["action"], each["address"]) for each in planned["changes"]) == [
        ("create", f"{copies}.aws_db_instance_automated_backups_replication.this"),
        ("create", f"{copies}.aws_kms_key.this"),
        ("create", "output.copied_backups"),
    ]
    staging.set("database", 'backup_region = "eu-west-1"\n', "")


def keep_destroy_and_lock(staging: Cloud) -> None:
    """A kept type is destroyed only after it is removed from the list; the next buckets have object lock."""
    staging.settings(keep=["aws_s3_bucket"])
    refused = staging.failure("stacks", "destroy", "staging", "--yes", "backups")
    assert "module.backups.aws_s3_bucket.this (terraform.keep lists aws_s3_bucket)" in refused
    staging.settings()
    s3, [bucket] = staging.client("s3"), staging.run_json("stacks", "output", "staging", "backups")["stacks"].values()
    found = s3.list_object_versions(Bucket=bucket["bucket"])
    for one in (*found.get("Versions", ()), *found.get("DeleteMarkers", ())):
        s3.delete_object(Bucket=bucket["bucket"], Key=one["Key"], VersionId=one["VersionId"])
    [destroyed] = staging.run_json("stacks", "destroy", "staging", "--yes", "backups")["stacks"]
    assert (destroyed["outcome"], destroyed["sentence"]) == ("done", "13 destroyed, 3 outputs")
    staging.set("backups", "bucket =", f"object_lock = true\n{REPLICA}bucket =")
    staging.run_json("stacks", "apply", "staging", "--yes", "backups")
    for name in (bucket["bucket"], "acme-replica-staging"):
        configuration = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
        assert configuration == {"ObjectLockEnabled": "Enabled"}, "and no default, which would lock records"
    [outputs] = staging.run_json("stacks", "output", "staging", "backups")["stacks"].values()
    assert {"copier", "writer", "replica-writer"} < outputs["roles"].keys()
    [planned] = staging.run_json("stacks", "plan", "staging", "backups")["stacks"]
    assert planned["changes"] == []
