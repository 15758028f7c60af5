"""Who holds a stack's lock, alive or dead: in a table for the old Terraform, in a file beside the state for the new."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.parts.cloud import AWS, SLOW, Cloud, child_of, cloud
from tests.parts.proxy import Proxy, Way
from tests.parts.terraform import NEW, OLD

WAITS = AWS + (
    'resource "aws_vpc" "slow" {\n  cidr_block = "10.99.0.0/16"\n'
    '  provisioner "local-exec" {\n    command = "while test ! -e ${path.root}/go-on; do sleep 0.1; done"\n  }\n}\n'
)
"""Is being made until a file is there."""
HELD = r"staging/held is locked by \S+@\S+ since \d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d \(apply\)"


@pytest.fixture(params=[OLD, NEW])
def sky(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud"), request.param) as made:
        made.run_json("stacks", "bootstrap", "staging")
        made.only("held", code=WAITS)
        yield made


@pytest.mark.timeout(400)  # on a busy machine
def test_a_lock_from_its_holder_to_who_takes_it_away(sky: Cloud) -> None:
    while_its_holder_lives(sky)
    once_its_holder_is_dead(sky)
    run_again(sky)


def while_its_holder_lives(sky: Cloud) -> None:
    """Others are told who it is, drift is looked for all the same, and it is given back in the end."""
    with sky.applying() as crew:
        told = sky.run_json("stacks", "unlock", "staging", "held")["sentence"]
        assert re.match(HELD, told)
        refused = sky.failure("stacks", "plan", "staging", "--lock-timeout", "0s")
        assert re.search(r"the state is locked by \S+@\S+ since \d{4}-\S+ \S+ \(apply\); wait for it", refused)
        assert f"crew stacks unlock staging held --id {lock_in(told)}" in refused
        assert sky.run_json("drift", "staging")["environments"][0]["pending"]
        (sky.root / "terraform" / "stacks" / "held" / "go-on").touch()
        said, _ = crew.communicate()
        assert (crew.returncode, "1 created" in said) == (0, True), said
    assert sky.run_json("stacks", "unlock", "staging", "held")["sentence"] == "staging/held is not locked"
    sky.run_json("stacks", "destroy", "staging")
    (sky.root / "terraform" / "stacks" / "held" / "go-on").unlink()


def once_its_holder_is_dead(sky: Cloud) -> None:
    """Terraform is killed halfway through an apply: its lock stays, until somebody takes it away who names it."""
    with sky.applying() as crew:
        os.killpg(child_of(crew.pid), signal.SIGKILL)
        said, _ = crew.communicate()
        assert (crew.returncode, "killed by signal 9; run it again" in said) == (1, True), said
    told = sky.run_json("stacks", "unlock", "staging", "held")["sentence"]
    assert re.match(HELD, told)
    assert f"crew stacks unlock staging held --id {lock_in(told)}" in sky.failure(
        "stacks", "apply", "staging", "--lock-timeout", "0s"
    )
    assert "with another lock" in sky.failure("stacks", "unlock", "staging", "held", "--id", "guessed", code=64)
    sky.protect()
    refused = sky.failure("stacks", "unlock", "staging", "held", "--id", lock_in(told), code=64)
    assert "add --yes-to staging" in refused
    done = sky.run_json("stacks", "unlock", "staging", "held", "--id", lock_in(told), "--yes-to", "staging")["sentence"]
    assert re.match("staging/held is unlocked; it was locked by", done)
    assert sky.run_json("stacks", "unlock", "staging", "held")["sentence"] == "staging/held is not locked"


def run_again(sky: Cloud) -> None:
    sky.only("held", code=WAITS)
    (sky.root / "terraform" / "stacks" / "held" / "go-on").touch()
    sky.run_json("stacks", "apply", "staging")
    assert sky.run_json("drift", "staging", "--fail-on", "pending")["environments"][0]["stacks"][0]["findings"] == []


def test_what_looks_like_drift_may_be_an_apply_that_runs(sky: Cloud) -> None:
    """Its work is in the cloud, and not in the state yet."""
    sky.only("held", code=SLOW)
    sky.run_json("stacks", "apply", "staging")
    with held(sky, "OperationTypeApply"):
        sky.run_json("drift", "staging", "--fail-on", "pending")
    ec2 = sky.client("ec2")
    [vpc] = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.99.0.0/16"]}])["Vpcs"]
    ec2.create_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Owner", "Value": "mallory"}])
    with held(sky, "OperationTypeApply"):
        told = sky.failure("drift", "staging")
        assert "a running apply, by ann@laptop since 2026-11-21T02:00:04 (apply); check again when" in told
        with sky.asking_who_it_is(["s3:Get*", "s3:List*", "ec2:Describe*", "sts:GetCallerIdentity"]) as reader:
            # A lock in a table can't be read by these, and a file beside the state can.
            assert sky.crew("drift", "staging", **reader).returncode == (2 if sky.version == OLD else 1)
    with held(sky, "OperationTypePlan"):
        sky.run_json("drift", "staging", code=2)
    sky.run_json("drift", "staging", code=2)


@contextmanager
def held(sky: Cloud, operation: str) -> Iterator[None]:
    """While inside, somebody has the lock, as Terraform writes it."""
    told = {"ID": "6f1c", "Operation": operation, "Who": "ann@laptop", "Created": "2026-11-21T02:00:04.123Z"}
    info, s3, table = json.dumps(told), sky.client("s3"), sky.client("dynamodb")
    if sky.version == OLD:
        item = {"LockID": {"S": f"{sky.bucket}/staging/held"}}
        table.put_item(TableName="locks", Item={**item, "Info": {"S": info}})
        yield
        table.delete_item(TableName="locks", Key=item)
    else:
        s3.put_object(Bucket=sky.bucket, Key="staging/held.tflock", Body=info)
        yield
        s3.delete_object(Bucket=sky.bucket, Key="staging/held.tflock")


def test_a_lock_whose_answer_was_lost_is_told_to_be_our_own(sky: Cloud, proxy: Callable[..., Proxy]) -> None:
    """Terraform asks again, finds the lock that it has just taken, and waits for itself."""
    host, port = sky.endpoint.removeprefix("http://").split(":")
    between = proxy((host, int(port)))
    lock = 'lock_table = "locks"' if sky.version == OLD else 'lock = "file"'
    where = f'bucket = "{sky.bucket}", region = "eu-central-1", endpoint = "{between.endpoint}"'
    sky.only("held", state=f"{{ {where}, {lock} }}")
    sky.run_json("stacks", "plan", "staging")
    between.cut(0, Way.DOWN, matching="POST" if sky.version == OLD else ".tflock")
    told = sky.failure("stacks", "plan", "staging", "--lock-timeout", "1s")
    assert "probably by this command itself (AWS's response was lost)" in told
    sky.run_json("stacks", "unlock", "staging", "held", "--id", lock_in(told.strip()))
    sky.run_json("stacks", "plan", "staging")


def lock_in(told: str) -> str:
    """The ID that the way out names."""
    return told.rpartition("--id ")[2]
