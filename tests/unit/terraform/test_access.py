"""The role, the account and the region of a stack, with a double of AWS's service for credentials."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inventories import StackSettings
from terraform import access
from terraform.access import session_name, with_access
from terraform.errors import StackError

ROLE = "arn:aws:iam::123456789012:role/terraform"
INHERITED = {"HOME": "/root", "AWS_PROFILE": "ann", "AWS_REGION": "us-east-1"}


class Sts:
    """AWS's service for credentials."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.valid = timedelta(hours=1)

    def assume_role(self, *, RoleArn: str, RoleSessionName: str) -> dict[str, Any]:
        self.asked.append(f"{RoleArn} {RoleSessionName}")
        keys = {"AccessKeyId": "ASIA1", "SecretAccessKey": "hush-1", "SessionToken": "hush-2"}
        return {"Credentials": {**keys, "Expiration": datetime.now(UTC) + self.valid}}

    def get_caller_identity(self) -> dict[str, str]:
        self.asked.append("who")
        return {"Account": "999999999999"}


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Sts:
    made = Sts()
    monkeypatch.setattr("boto3.client", lambda *_args, **_more: made)
    monkeypatch.setattr(access, "_known", access._KnownAccess())
    return made


def stack(**settings: str) -> StackSettings:
    return StackSettings(name="network", **settings)


def test_a_stack_without_these_settings_asks_nothing(sts: Sts) -> None:
    assert with_access("staging/network", stack(), INHERITED) == INHERITED
    assert with_access("staging/network", None, INHERITED) == INHERITED
    region = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    assert with_access("staging/network", stack(region="eu-west-1"), INHERITED) == {**INHERITED, **region}
    assert sts.asked == []


def test_the_credentials_of_a_role_replace_the_others(sts: Sts) -> None:
    expected = {
        "HOME": "/root", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "ASIA1", "AWS_SECRET_ACCESS_KEY": "hush-1",
        "AWS_SESSION_TOKEN": "hush-2",
    }  # fmt: skip
    for _ in range(2):
        assert with_access("staging/network", stack(role=ROLE), INHERITED) == expected
    assert sts.asked == [f"{ROLE} crew-staging-network"]


def test_credentials_that_end_soon_are_renewed(sts: Sts) -> None:
    sts.valid = timedelta(minutes=20)
    for _ in range(2):
        with_access("staging/network", stack(role=ROLE), INHERITED)
    assert len(sts.asked) == 2


def test_credentials_of_another_account_are_refused(sts: Sts) -> None:
    assert with_access("staging/network", stack(account="999999999999"), INHERITED) == INHERITED
    with pytest.raises(StackError, match="staging/network: the credentials belong to account 999999999999, not 1"):
        with_access("staging/network", stack(account="123456789012"), INHERITED)
    assert sts.asked == ["who", "who"]


def test_a_session_name_has_only_what_aws_allows() -> None:
    assert session_name("staging/network") == "crew-staging-network"
    assert len(session_name(f"staging/{'x' * 99}")) == 64
