"""The bucket and the table behind the stacks' state, asked directly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inventories import State
from terraform import backend
from terraform.diagnosis import Lock
from terraform.errors import OutOfReach, StackError
from terraform.state import Serial, serial_in

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client(state: State, service: str) -> Any:
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


def serial(s3: S3Client, state: State, environment: str, stack: str) -> Serial:
    """Which state is stored now."""
    from botocore.exceptions import BotoCoreError, ClientError

    key = backend.key(environment, stack)
    try:
        return serial_in(s3.get_object(Bucket=state.bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return Serial()
        raise StackError(f"{environment}/{stack}: the state can't be read ({error}); look at the credentials") from None
    except BotoCoreError as error:
        raise OutOfReach(f"{environment}/{stack}: the state can't be read ({error}); try again later") from None


def lock(state: State, environment: str, stack: str) -> Lock | None:
    """Who holds the lock now."""
    from botocore.exceptions import BotoCoreError, ClientError

    key = backend.key(environment, stack)
    try:
        text = _from_table(state, key) if state.lock_table else _from_file(state, key)
    except (ClientError, BotoCoreError) as error:
        raise StackError(f"{environment}/{stack}: its lock can't be read ({error})") from None
    if not text:
        return None
    told = json.loads(text)
    return Lock(told["ID"], told.get("Who", ""), told.get("Created", ""), told.get("Operation", ""))


def _from_table(state: State, key: str) -> str:
    wanted = {"LockID": {"S": f"{state.bucket}/{key}"}}
    found = client(state, "dynamodb").get_item(TableName=state.lock_table, Key=wanted, ConsistentRead=True)
    return str(found.get("Item", {}).get("Info", {}).get("S", ""))


def _from_file(state: State, key: str) -> str:
    from botocore.exceptions import ClientError

    try:
        return str(client(state, "s3").get_object(Bucket=state.bucket, Key=f"{key}.tflock")["Body"].read().decode())
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return ""
        raise


def bootstrap(environment: str, state: State) -> list[str]:
    """Make the bucket and the table, or see that they are there; what was done, a sentence each. Safe to repeat."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        done = [_bucket(state)]
        if state.lock_table:
            done.append(_table(state))
    except ClientError as error:
        raise StackError(f"{environment}: AWS refused ({error}); look at the credentials' rights") from None
    except BotoCoreError as error:
        raise OutOfReach(f"{environment}: AWS is out of reach ({error}); look at [terraform] state") from None
    return done


def _bucket(state: State) -> str:
    from botocore.exceptions import ClientError

    s3 = client(state, "s3")
    try:
        s3.head_bucket(Bucket=state.bucket)
        made = f"bucket {state.bucket} was there"
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
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


def _table(state: State) -> str:
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
