"""Read and create the bucket and the lock table of the stacks' state, through the AWS API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inventories import StateSettings
from inventories.printable import printable
from terraform import backend
from terraform.diagnosis import StateLock
from terraform.errors import StackError, TemporaryStackError
from terraform.state import StateVersion, state_version

_MAX_LENGTH = 300

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client


def client(state: StateSettings, service: str) -> Any:
    """Return a client for an AWS service, with the same settings as Terraform's backend."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session(profile_name=state.profile or None, region_name=state.region or None)
        config = Config(connect_timeout=10, read_timeout=20, s3={"addressing_style": "path"} if state.endpoint else {})
        return session.client(service, endpoint_url=state.endpoint or None, config=config)  # type: ignore[call-overload]
    except BotoCoreError as error:
        raise StackError(f"AWS: {error}; check [terraform] state and AWS_PROFILE") from None


@contextmanager
def translated_aws_errors(name: str, what: str) -> Iterator[None]:
    """While inside, raise a StackError with the remedy instead of an error of boto3."""
    from botocore import exceptions as aws

    try:
        yield
    except aws.ClientError as error:
        remedy = "check AWS_PROFILE, [terraform] state and the permissions of the credentials"
        raise StackError(f"{name}: {what}: AWS rejected the request ({_summary(error)}); {remedy}") from None
    except (aws.ConnectionError, aws.HTTPClientError) as error:
        raise TemporaryStackError(f"{name}: {what}: AWS is unreachable ({error}); try again later") from None
    except aws.BotoCoreError as error:
        raise StackError(f"{name}: {what}: {error}; check AWS_PROFILE and [terraform] state") from None


def _summary(error: ClientError) -> str:
    """Return the operation, the code and the message on one line, without the rest of botocore's text."""
    fields = error.response.get("Error", {})
    text = " ".join(f"{fields.get('Code', '?')} {fields.get('Message', '')}".split())
    return printable(f"{error.operation_name}: {text[:_MAX_LENGTH]}")


def stored_state_version(s3: S3Client, state: StateSettings, environment: str, stack: str) -> StateVersion:
    """Return the version of the stored state."""
    with translated_aws_errors(f"{environment}/{stack}", "cannot read the state"):
        return state_version(_object(s3, state, backend.state_key(environment, stack)))


def _object(s3: S3Client, state: StateSettings, key: str) -> str:
    """Return the object at a key; empty if the key does not exist."""
    try:
        return s3.get_object(Bucket=state.bucket, Key=key)["Body"].read().decode()
    except s3.exceptions.NoSuchKey:
        return ""


def current_lock(state: StateSettings, environment: str, stack: str) -> StateLock | None:
    """Return the lock of the state, or None."""
    key = backend.state_key(environment, stack)
    with translated_aws_errors(f"{environment}/{stack}", "cannot read the lock"):
        text = _from_table(state, key) if state.lock_table else _object(client(state, "s3"), state, f"{key}.tflock")
    if not text:
        return None
    return StateLock.of(json.loads(text))


def _from_table(state: StateSettings, key: str) -> str:
    item_key = {"LockID": {"S": f"{state.bucket}/{key}"}}
    response = client(state, "dynamodb").get_item(TableName=state.lock_table, Key=item_key, ConsistentRead=True)
    return str(response.get("Item", {}).get("Info", {}).get("S", ""))


def create_backend(environment: str, state: StateSettings) -> list[str]:
    """Create the bucket and the lock table if they do not exist; return a sentence for each. Safe to repeat."""
    with translated_aws_errors(environment, f"bucket {state.bucket}"):
        done = [_bucket(state)]
    if state.lock_table:
        with translated_aws_errors(environment, f"table {state.lock_table}"):
            done.append(_table(state))
    return done


def missing_backend_parts(environment: str, state: StateSettings) -> list[str]:
    """Return a sentence for each part that `crew stacks bootstrap` has to create or fix."""
    with translated_aws_errors(environment, f"bucket {state.bucket}"):
        missing = _missing_bucket(state)
    if state.lock_table:
        with translated_aws_errors(environment, f"table {state.lock_table}"):
            missing += _missing_table(state)
    return missing


def _missing_bucket(state: StateSettings) -> list[str]:
    s3 = client(state, "s3")
    if not _exists(s3, state.bucket):
        return [f"bucket {state.bucket} does not exist"]
    if s3.get_bucket_versioning(Bucket=state.bucket).get("Status") != "Enabled":
        return [f"bucket {state.bucket} has no versioning, so an overwritten state is lost"]
    return []


def _missing_table(state: StateSettings) -> list[str]:
    dynamodb = client(state, "dynamodb")
    try:
        keys = dynamodb.describe_table(TableName=state.lock_table)["Table"]["KeySchema"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return [f"table {state.lock_table} does not exist"]
    fits = keys == [{"AttributeName": "LockID", "KeyType": "HASH"}]
    return [] if fits else [f"the key of table {state.lock_table} is not LockID, so the table cannot hold locks"]


def _exists(s3: S3Client, bucket: str) -> bool:
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
    bucket = f"bucket {state.bucket} already exists"
    if not _exists(s3, state.bucket):
        elsewhere = state.region and state.region != "us-east-1"
        where = {"CreateBucketConfiguration": {"LocationConstraint": state.region}} if elsewhere else {}
        s3.create_bucket(Bucket=state.bucket, **where)
        bucket = f"bucket {state.bucket} created"
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_bucket_versioning(Bucket=state.bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_encryption(Bucket=state.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_public_access_block(Bucket=state.bucket, PublicAccessBlockConfiguration=closed)
    added = [*_add_policy(s3, state.bucket), *_add_lifecycle(s3, state.bucket)]
    return "; ".join([bucket, "versioning, encryption and the public access block are on", *added])


def _add_policy(s3: S3Client, bucket: str) -> list[str]:
    """Refuse requests without TLS. Keep a policy that the bucket already has, since it can name other accounts."""
    from botocore.exceptions import ClientError

    policy = json.dumps(backend.tls_only_policy(bucket))
    try:
        known = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
            raise
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)
        return ["requests need TLS"]
    return ["requests need TLS"] if json.loads(known) == json.loads(policy) else ["its own policy stays"]


def _add_lifecycle(s3: S3Client, bucket: str) -> list[str]:
    """Remove old versions of states after a year, but never the newest ten. Keep rules that the bucket already has."""
    from botocore.exceptions import ClientError

    try:
        known = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        rules: Any = {"Rules": backend.LIFECYCLE_RULES}
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=rules)
        return ["old states are kept for a year"]
    ours = {rule.get("ID") for rule in known} == {rule["ID"] for rule in backend.LIFECYCLE_RULES}
    return ["old states are kept for a year"] if ours else ["its own lifecycle rules stay"]


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
        return f"table {state.lock_table} already exists"
    dynamodb.get_waiter("table_exists").wait(TableName=state.lock_table, WaiterConfig={"Delay": 2})
    return f"table {state.lock_table} created"
