"""Where a stack's state lives: the settings of Terraform's S3 backend, made from the environment. Pure."""

from __future__ import annotations

import json

from inventories import StateSettings
from terraform.errors import StackError

Version = tuple[int, ...]
LOCK_FILES_FROM: Version = (1, 10)
ENDPOINTS_FROM: Version = (1, 6)


def state_key(environment: str, stack: str) -> str:
    """The object of the state."""
    return f"{environment}/{stack}"


def backend_settings(state: StateSettings, environment: str, stack: str, version: Version) -> str:
    """The file for `init -backend-config`, in the words of this version."""
    if state.lock and version < LOCK_FILES_FROM:
        raise StackError(
            f'{environment}: terraform.state.lock = "file" wants Terraform 1.10 or newer, and here is {version_text(version)}; '
            'use lock_table = "…", or install a newer one'
        )
    lines: dict[str, object] = {"bucket": state.bucket, "key": state_key(environment, stack), "encrypt": True}
    lines |= {name: value for name, value in (("region", state.region), ("profile", state.profile)) if value}
    lines |= {"use_lockfile": True} if state.lock else {"dynamodb_table": state.lock_table}
    if state.endpoint:
        lines |= _elsewhere(state, version)
    return "".join(f"{name} = {_hcl(value)}\n" for name, value in lines.items())


def _elsewhere(state: StateSettings, version: Version) -> dict[str, object]:
    """An S3-compatible server is no AWS: nothing about an account or a region is asked of it."""
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
    """A version as people write it."""
    return ".".join(str(part) for part in version)
