"""The settings of the S3 backend for each Terraform version."""

from __future__ import annotations

import pytest

from inventories import StateSettings
from terraform import backend
from terraform.errors import StackError

AWS = StateSettings(bucket="acme", region="eu-central-1", lock_table="locks")
S3_COMPATIBLE = StateSettings(bucket="acme", endpoint="http://s3.local:8333", lock="file")


@pytest.mark.parametrize("version", [(1, 0, 3), (1, 15, 5)])
def test_aws_settings_are_the_same_for_all_versions(version: tuple[int, ...]) -> None:
    assert backend.backend_settings(AWS, "staging", "network", version) == (
        'bucket = "acme"\nkey = "staging/network"\nencrypt = true\nregion = "eu-central-1"\ndynamodb_table = "locks"\n'
    )


def test_s3_compatible_servers_for_old_versions() -> None:
    state = StateSettings(bucket="acme", endpoint="http://s3.local:8333", lock_table="locks", profile="p")
    settings = backend.backend_settings(state, "staging", "network", (1, 5, 7)).splitlines()
    assert settings[3:8] == [
        'profile = "p"', 'dynamodb_table = "locks"', 'endpoint = "http://s3.local:8333"', "force_path_style = true",
        'dynamodb_endpoint = "http://s3.local:8333"',
    ]  # fmt: skip


def test_s3_compatible_servers_for_new_versions() -> None:
    settings = backend.backend_settings(S3_COMPATIBLE, "staging", "network", (1, 10, 0))
    assert 'use_lockfile = true\nendpoints = { s3 = "http://s3.local:8333" }\nuse_path_style = true\n' in settings


def test_lock_files_need_a_version_that_supports_them() -> None:
    with pytest.raises(StackError, match=r'staging: terraform.state.lock = "file" needs Terraform 1.10 .* 1\.9\.8'):
        backend.backend_settings(S3_COMPATIBLE, "staging", "network", (1, 9, 8))


def test_a_policy_covers_the_states_of_one_environment() -> None:
    state = StateSettings(bucket="acme", lock="file")
    states = "arn:aws:s3:::acme/staging/*"
    list_bucket = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "arn:aws:s3:::acme"}
    reading = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": states}
    assert backend.state_policy(state, "staging", writing=False)["Statement"] == [list_bucket, reading]
    assert backend.state_policy(state, "staging", writing=True)["Statement"] == [
        list_bucket,
        {**reading, "Action": [*reading["Action"], "s3:PutObject"]},
        {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": f"{states}.tflock"},
    ]


def test_a_policy_covers_the_locks_of_one_environment_in_the_table() -> None:
    [*_, reading] = backend.state_policy(AWS, "staging", writing=False)["Statement"]
    [*_, writing] = backend.state_policy(AWS, "staging", writing=True)["Statement"]
    assert reading["Action"] == ["dynamodb:GetItem"]
    assert writing["Action"] == ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"]
    assert writing["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["acme/staging/*"]}}
