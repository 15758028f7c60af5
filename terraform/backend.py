"""The settings of Terraform's S3 backend, where the state of a stack is stored. Pure."""

from __future__ import annotations

import json
from typing import Any

from inventories import StateSettings
from terraform.errors import StackError

Version = tuple[int, ...]
LOCK_FILES_FROM: Version = (1, 10)
ENDPOINTS_FROM: Version = (1, 6)
STATE_EXAMPLE = 'state = { bucket = "…", region = "…", lock = "file" }'


def state_key(environment: str, stack: str) -> str:
    """Return the key of the state in the bucket."""
    return f"{environment}/{stack}"


def backend_settings(state: StateSettings, environment: str, stack: str, version: Version) -> str:
    """Return the file for `init -backend-config`, in the syntax of this Terraform version."""
    if state.lock and version < LOCK_FILES_FROM:
        required = f'terraform.state.lock = "file" needs Terraform 1.10 or newer (found: {version_text(version)})'
        raise StackError(f'{environment}: {required}; use lock_table = "…", or install a newer version')
    lines: dict[str, object] = {"bucket": state.bucket, "key": state_key(environment, stack), "encrypt": True}
    lines |= {name: value for name, value in (("region", state.region), ("profile", state.profile)) if value}
    lines |= {"use_lockfile": True} if state.lock else {"dynamodb_table": state.lock_table}
    if state.endpoint:
        lines |= _s3_compatible(state, version)
    return "".join(f"{name} = {_hcl(value)}\n" for name, value in lines.items())


LIFECYCLE_RULES: tuple[dict[str, Any], ...] = (
    {
        "ID": "old-states",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 365, "NewerNoncurrentVersions": 10},
    },
    {
        "ID": "open-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    },
)


def tls_only_policy(bucket: str) -> dict[str, Any]:
    """Return the policy of a bucket that refuses all requests without TLS."""
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def state_policy(state: StateSettings, environment: str, *, writing: bool) -> dict[str, Any]:
    """Return an IAM policy for the states of one environment. It gives no access to those of another one."""
    keys = f"arn:aws:s3:::{state.bucket}/{environment}/*"
    actions = ["s3:GetObject", "s3:GetObjectVersion"]
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": f"arn:aws:s3:::{state.bucket}"},
        {"Effect": "Allow", "Action": [*actions, "s3:PutObject"] if writing else actions, "Resource": keys},
    ]
    if writing and not state.lock_table:
        statements.append({"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": f"{keys}.tflock"})
    if state.lock_table:
        items = ["dynamodb:GetItem", *(("dynamodb:PutItem", "dynamodb:DeleteItem") if writing else ())]
        leading = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{state.bucket}/{environment}/*"]}}
        table = f"arn:aws:dynamodb:*:*:table/{state.lock_table}"
        statements.append({"Effect": "Allow", "Action": items, "Resource": table, "Condition": leading})
    return {"Version": "2012-10-17", "Statement": statements}


def _s3_compatible(state: StateSettings, version: Version) -> dict[str, object]:
    """Return the settings for an S3-compatible server, which has no AWS accounts or regions to check."""
    skipped = ["skip_credentials_validation", "skip_metadata_api_check", "skip_region_validation"]
    if version < ENDPOINTS_FROM:
        lines = {"endpoint": state.endpoint, "force_path_style": True}
        table = {"dynamodb_endpoint": state.endpoint} if state.lock_table else {}
        return {**lines, **table, **dict.fromkeys(skipped, True)}
    skipped += ["skip_requesting_account_id", "skip_s3_checksum"]
    endpoints = {"s3": state.endpoint, **({"dynamodb": state.endpoint} if state.lock_table else {})}
    return {"endpoints": endpoints, "use_path_style": True, **dict.fromkeys(skipped, True)}


def _hcl(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_hcl(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def version_text(version: Version) -> str:
    """Return a version as text, such as 1.10."""
    return ".".join(str(part) for part in version)
