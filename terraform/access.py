"""The AWS role, account and region of a stack, as environment variables for Terraform."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from inventories import Environment, StackSettings
from terraform.errors import StackError
from terraform.remote import translated_aws_errors

_REPLACED = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)  # fmt: skip
"""Variables that name other credentials."""
_LEAST_TIME = timedelta(minutes=30)
"""Credentials that are valid for less time are requested again before a command starts."""


@dataclass
class _KnownAccess:
    """What this process has already asked AWS, so that each command of a stack does not ask again."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    by_stack: dict[tuple[str, StackSettings], tuple[dict[str, str], datetime]] = field(default_factory=dict)


_known = _KnownAccess()


def with_access(name: str, settings: StackSettings | None, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for a stack's Terraform; StackError with credentials of another account.

    With a role, the variables hold its temporary credentials, and Terraform uses them for the state as well.
    """
    if settings is None or not (settings.role or settings.account or settings.region):
        return dict(inherited)
    regions = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), settings.region) if settings.region else {}
    if not (settings.role or settings.account):
        return {**inherited, **regions}
    with _known.lock:
        credentials, until = _known.by_stack.get((name, settings), ({}, datetime.min.replace(tzinfo=UTC)))
        if until < datetime.now(UTC) + _LEAST_TIME:
            credentials, until = _checked_credentials(name, settings, inherited.get("AWS_REGION", ""))
            _known.by_stack[name, settings] = credentials, until
    kept = {key: value for key, value in inherited.items() if not (settings.role and key in _REPLACED)}
    return {**kept, **credentials, **regions}


def _checked_credentials(name: str, settings: StackSettings, region: str) -> tuple[dict[str, str], datetime]:
    """Return the credentials of the role, if there is one, and until when they are valid; check the account."""
    import boto3

    with translated_aws_errors(name, "cannot use the role or the account of the stack"):
        # AWS_REGION is Terraform's variable; boto3 reads others. Each region answers for all.
        region = settings.region or region or boto3.Session().region_name or "us-east-1"
        sts = boto3.client("sts", region_name=region)
        credentials, until = {}, datetime.now(UTC) + 2 * _LEAST_TIME
        if settings.role:
            keys = sts.assume_role(RoleArn=settings.role, RoleSessionName=session_name(name))["Credentials"]
            until = keys["Expiration"]
            credentials = {
                "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
                "AWS_SESSION_TOKEN": keys["SessionToken"],
            }
            account = settings.role.split(":")[4]
        else:
            account = sts.get_caller_identity()["Account"]
    if settings.account and account != settings.account:
        remedy = "check AWS_PROFILE, or account and role in the environment file"
        raise StackError(f"{name}: the credentials belong to account {account}, not {settings.account}; {remedy}")
    return credentials, until


def session_name(name: str) -> str:
    """Return the name of the session, which AWS's logs show: crew and the stack."""
    return re.sub(r"[^\w+=,.@-]", "-", f"crew-{name}", flags=re.ASCII)[:64]


def client_of_stack(environment: Environment, stack: str, service: str) -> Any:
    """Return a client for an AWS service, with the credentials and the region of a stack."""
    import boto3

    settings, state = environment.stacks[stack], environment.terraform.state
    variables = with_access(f"{environment.name}/{stack}", settings, os.environ)
    region = variables.get("AWS_REGION") or boto3.Session().region_name or (state.region if state else "") or None
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if settings.role else ()
    named: dict[str, Any] = {name.lower(): variables[name] for name in keys}
    client: Any = boto3.Session(region_name=region, **named).client
    return client(service)
