"""The bucket and the table behind the stacks' state, asked directly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inventories import StateSettings
from terraform import backend
from terraform.diagnosis import StateLock
from terraform.errors import StackError, TemporaryStackError
from terraform.state import StateVersion, state_version

_LONGEST = 300

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client


def client(state: StateSettings, service: str) -> Any:
    """A client of the service beside the state; its own settings, as Terraform's backend has them."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session(profile_name=state.profile or None, region_name=state.region or None)
        config = Config(connect_timeout=10, read_timeout=20, s3={"addressing_style": "path"} if state.endpoint else {})
        return session.client(service, endpoint_url=state.endpoint or None, config=config)  # type: ignore[call-overload]
    except BotoCoreError as error:
        raise StackError(f"AWS: {error}; look at [terraform] state and at AWS_PROFILE") from None


@contextmanager
def translated_aws_errors(name: str, what: str) -> Iterator[None]:
    """While inside, what AWS refuses or fails at is told as an error of ours, with the way out."""
    from botocore import exceptions as aws

    try:
        yield
    except aws.ClientError as error:
        way_out = "look at AWS_PROFILE, at [terraform] state, and at what the credentials may do"
        raise StackError(f"{name}: {what}: AWS refused it ({_said(error)}); {way_out}") from None
    except (aws.ConnectionError, aws.HTTPClientError) as error:
        raise TemporaryStackError(f"{name}: {what}: AWS is out of reach ({error}); try again later") from None
    except aws.BotoCoreError as error:
        raise StackError(f"{name}: {what}: {error}; look at AWS_PROFILE and at [terraform] state") from None


def _said(error: ClientError) -> str:
    """The code and the words, on one line, without what botocore puts around them."""
    told = error.response.get("Error", {})
    words = " ".join(f"{told.get('Code', '?')} {told.get('Message', '')}".split())
    return f"{error.operation_name}: {words[:_LONGEST]}"


def stored_state_version(s3: S3Client, state: StateSettings, environment: str, stack: str) -> StateVersion:
    """Which state is stored now."""
    with translated_aws_errors(f"{environment}/{stack}", "the state can't be read"):
        return state_version(_object(s3, state, backend.state_key(environment, stack)))


def _object(s3: S3Client, state: StateSettings, key: str) -> str:
    """What a key of the bucket holds; empty if there is no such key."""
    try:
        return s3.get_object(Bucket=state.bucket, Key=key)["Body"].read().decode()
    except s3.exceptions.NoSuchKey:
        return ""


def current_lock(state: StateSettings, environment: str, stack: str) -> StateLock | None:
    """Who holds the lock now."""
    key = backend.state_key(environment, stack)
    with translated_aws_errors(f"{environment}/{stack}", "its lock can't be read"):
        text = _from_table(state, key) if state.lock_table else _object(client(state, "s3"), state, f"{key}.tflock")
    if not text:
        return None
    told = json.loads(text)
    return StateLock(told["ID"], told.get("Who", ""), told.get("Created", ""), told.get("Operation", ""))


def _from_table(state: StateSettings, key: str) -> str:
    wanted = {"LockID": {"S": f"{state.bucket}/{key}"}}
    found = client(state, "dynamodb").get_item(TableName=state.lock_table, Key=wanted, ConsistentRead=True)
    return str(found.get("Item", {}).get("Info", {}).get("S", ""))


def create_backend(environment: str, state: StateSettings) -> list[str]:
    """Make the bucket and the table, or see that they are there; what was done, a sentence each. Safe to repeat."""
    with translated_aws_errors(environment, f"bucket {state.bucket}"):
        done = [_bucket(state)]
    if state.lock_table:
        with translated_aws_errors(environment, f"table {state.lock_table}"):
            done.append(_table(state))
    return done


def missing_backend_parts(environment: str, state: StateSettings) -> list[str]:
    """What bootstrap would make, and is not there."""
    with translated_aws_errors(environment, f"bucket {state.bucket}"):
        found = _lacking_bucket(state)
    if state.lock_table:
        with translated_aws_errors(environment, f"table {state.lock_table}"):
            found += _lacking_table(state)
    return found


def _lacking_bucket(state: StateSettings) -> list[str]:
    s3 = client(state, "s3")
    if not _is_there(s3, state.bucket):
        return [f"there is no bucket {state.bucket}"]
    if s3.get_bucket_versioning(Bucket=state.bucket).get("Status") != "Enabled":
        return [f"bucket {state.bucket} keeps no versions, so that a state that is overwritten is gone"]
    return []


def _lacking_table(state: StateSettings) -> list[str]:
    dynamodb = client(state, "dynamodb")
    try:
        keys = dynamodb.describe_table(TableName=state.lock_table)["Table"]["KeySchema"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return [f"there is no table {state.lock_table}"]
    fits = keys == [{"AttributeName": "LockID", "KeyType": "HASH"}]
    return [] if fits else [f"table {state.lock_table} has another key than LockID: it is no table for locks"]


def _is_there(s3: S3Client, bucket: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
        return False
    return True


def _bucket(state: StateSettings) -> str:
    s3 = client(state, "s3")
    made = f"bucket {state.bucket} was there"
    if not _is_there(s3, state.bucket):
        elsewhere = state.region and state.region != "us-east-1"
        where = {"CreateBucketConfiguration": {"LocationConstraint": state.region}} if elsewhere else {}
        s3.create_bucket(Bucket=state.bucket, **where)
        made = f"bucket {state.bucket} made"
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_bucket_versioning(Bucket=state.bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_encryption(Bucket=state.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_public_access_block(Bucket=state.bucket, PublicAccessBlockConfiguration=closed)
    return f"{made}; it is versioned, encrypted and closed to the public"


def _table(state: StateSettings) -> str:
    dynamodb = client(state, "dynamodb")
    try:
        dynamodb.create_table(
            TableName=state.lock_table,
            KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    except dynamodb.exceptions.ResourceInUseException:
        return f"table {state.lock_table} was there"
    dynamodb.get_waiter("table_exists").wait(TableName=state.lock_table, WaiterConfig={"Delay": 2})
    return f"table {state.lock_table} made"
