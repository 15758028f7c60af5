"""Secrets are named by their keys in the environment file."""

from __future__ import annotations

import pytest

from inventories import Environment
from jobs.checks import ok
from jobs.checks.secrets import check_secret, secrets_in


def test_secrets_are_named_by_their_keys(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = dict(secrets_in(environment))
    assert set(secrets) >= {"servers.main.password", "alerts.to.2", "alerts.heartbeat.backup"}
    monkeypatch.setenv("NOT_THERE", "hunter2")
    assert check_secret(secrets["servers.main.password"]) == ok("available (environment variable NOT_THERE)")
