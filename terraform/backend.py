"""The settings of Terraform's S3 backend, where the state of a stack is stored. Pure."""

from __future__ import annotations

import json

from inventories import StateSettings
from terraform.errors import StackError

Version = tuple[int, ...]
LOCK_FILES_FROM: Version = (1, 10)
ENDPOINTS_FROM: Version = (1, 6)
STATE_EXAMPLE = 'state = { bucket = "…", region = "…", lock_table = "…" }'


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
