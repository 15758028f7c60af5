"""Locks of stacks with a live or dead holder: in a table for the old Terraform, in a file for the new one."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.parts.cloud import EMPTY, SLOW, Cloud, child_of, cloud
from tests.parts.proxy import Proxy, Way
from tests.parts.terraform import NEW, OLD

WAITS = EMPTY + (
    'resource "terraform_data" "slow" {\n'
    '  provisioner "local-exec" {\n    command = "while test ! -e ${path.root}/go-on; do sleep 0.1; done"\n  }\n}\n'
)
"""A resource whose creation lasts until a file exists."""
HELD = r"staging/held is locked by \S+@\S+ since \d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d \(apply\)"


@pytest.fixture(params=[NEW])
def aws(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), request.param) as made:
        made.run_json("stacks", "bootstrap", "staging")
        made.only("held", code=WAITS)
        yield made


def test_a_lock_with_a_live_and_a_dead_holder(aws: Cloud) -> None:
    with_a_live_holder(aws)
    with_a_dead_holder(aws)
    run_again(aws)


def with_a_live_holder(aws: Cloud) -> None:
    """Errors name the holder, drift checks still work, and the holder releases the lock."""
    with aws.applying() as crew:
        output = aws.run_json("stacks", "unlock", "staging", "held")["sentence"]
        assert re.match(HELD, output)
        refused = aws.failure("stacks", "plan", "staging", "--lock-timeout", "0s")
        assert re.search(r"the state is locked by \S+@\S+ since \d{4}-\S+ \S+ \(apply\); wait for it", refused)
        assert f"crew stacks unlock staging held --id {lock_in(output)}" in refused
        assert aws.run_json("drift", "staging")["environments"][0]["pending"]
        (aws.root / "terraform" / "stacks" / "held" / "go-on").touch()
        output, _ = crew.communicate()
        assert crew.returncode == 0, output
        assert "1 created" in output
    assert aws.run_json("stacks", "unlock", "staging", "held")["sentence"] == "staging/held is not locked"
    aws.run_json("stacks", "destroy", "staging", "--yes")
    (aws.root / "terraform" / "stacks" / "held" / "go-on").unlink()


def with_a_dead_holder(aws: Cloud) -> None:
    """After Terraform is killed during an apply, its lock stays until `crew stacks unlock` removes it by ID."""
    with aws.applying() as crew:
        os.killpg(child_of(crew.pid), signal.SIGKILL)
        output, _ = crew.communicate()
        assert crew.returncode == 1, output
        assert "killed by signal 9; run it again" in output
    output = aws.run_json("stacks", "unlock", "staging", "held")["sentence"]
    assert re.match(HELD, output)
    assert f"crew stacks unlock staging held --id {lock_in(output)}" in aws.failure(
        "stacks", "apply", "staging", "--yes", "--lock-timeout", "0s"
    )
    assert "with lock ID" in aws.failure("stacks", "unlock", "staging", "held", "--id", "guessed", code=64)
    aws.protect()
    refused = aws.failure("stacks", "unlock", "staging", "held", "--id", lock_in(output), code=64)
    assert "add --yes-to staging" in refused
    done = aws.run_json("stacks", "unlock", "staging", "held", "--id", lock_in(output), "--yes-to", "staging")[
        "sentence"
    ]
    assert re.match("staging/held is unlocked; it was locked by", done)
    assert aws.run_json("stacks", "unlock", "staging", "held")["sentence"] == "staging/held is not locked"


def run_again(aws: Cloud) -> None:
    aws.only("held", code=WAITS)
    (aws.root / "terraform" / "stacks" / "held" / "go-on").touch()
    aws.run_json("stacks", "apply", "staging", "--yes")
    assert aws.run_json("drift", "staging", "--fail-on", "pending")["environments"][0]["stacks"][0]["findings"] == []


@pytest.mark.long
@pytest.mark.parametrize("aws", [pytest.param(OLD, marks=pytest.mark.release), NEW], indirect=True)
def test_drift_during_an_apply_is_not_reported(aws: Cloud) -> None:
    """The changes of the apply are in the cloud, but not yet in the state."""
    aws.only("held", code=SLOW)
    aws.run_json("stacks", "apply", "staging", "--yes")
    with held(aws, "OperationTypeApply"):
        aws.run_json("drift", "staging", "--fail-on", "pending")
    ec2 = aws.client("ec2")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.99.0.0/16"]}])["Vpcs"]
    ec2.create_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Owner", "Value": "mallory"}])
    with held(aws, "OperationTypeApply"):
        output = aws.failure("drift", "staging")
        assert "an apply is running (ann@laptop since 2026-11-21T02:00:04 (apply)), so drift cannot be" in output
        with aws.asking_who_it_is(["s3:Get*", "s3:List*", "ec2:Describe*", "sts:GetCallerIdentity"]) as reader:
            # These permissions can read a lock file beside the state, but not a lock in a table.
            assert aws.crew("drift", "staging", **reader).returncode == (2 if aws.version == OLD else 1)
    with held(aws, "OperationTypePlan"):
        aws.run_json("drift", "staging", code=2)
    aws.run_json("drift", "staging", code=2)


@contextmanager
def held(aws: Cloud, operation: str) -> Iterator[None]:
    """While inside, another process holds the lock, in Terraform's format."""
    lock = {"ID": "6f1c", "Operation": operation, "Who": "ann@laptop", "Created": "2026-11-21T02:00:04.123Z"}
    info, s3, table = json.dumps(lock), aws.client("s3"), aws.client("dynamodb")
    if aws.version == OLD:
        item = {"LockID": {"S": f"{aws.bucket}/staging/held"}}
        table.put_item(TableName="locks", Item={**item, "Info": {"S": info}})
        yield
        table.delete_item(TableName="locks", Key=item)
    else:
        s3.put_object(Bucket=aws.bucket, Key="staging/held.tflock", Body=info)
        yield
        s3.delete_object(Bucket=aws.bucket, Key="staging/held.tflock")


@pytest.mark.parametrize("aws", [pytest.param(OLD, marks=pytest.mark.long), NEW], indirect=True)
def test_a_lock_after_a_lost_response_is_recognised_as_our_own(aws: Cloud, proxy: Callable[..., Proxy]) -> None:
    """Terraform requests the lock again and then waits for its own lock."""
    host, port = aws.endpoint.removeprefix("http://").split(":")
    between = proxy((host, int(port)))
    lock = 'lock_table = "locks"' if aws.version == OLD else 'lock = "file"'
    where = f'bucket = "{aws.bucket}", region = "eu-central-1", endpoint = "{between.endpoint}"'
    aws.only("held", state=f"{{ {where}, {lock} }}")
    aws.run_json("stacks", "plan", "staging")
    between.cut(0, Way.DOWN, matching="POST" if aws.version == OLD else ".tflock")
    output = aws.failure("stacks", "plan", "staging", "--lock-timeout", "1s")
    assert "probably by this command itself (AWS's response was lost)" in output
    aws.run_json("stacks", "unlock", "staging", "held", "--id", lock_in(output.strip()))
    aws.run_json("stacks", "plan", "staging")


def lock_in(output: str) -> str:
    """The lock ID in the remedy of an error."""
    return output.rpartition("--id ")[2]
