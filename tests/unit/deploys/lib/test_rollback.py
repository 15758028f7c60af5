"""The message when new settings were rolled back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploys.lib.host import firewall, ssh_server


@pytest.mark.parametrize("message", [firewall.ROLLBACK.failure_message, ssh_server.ROLLBACK.failure_message])
def test_the_message_says_which_settings_are_active(message: Callable[..., str]) -> None:
    assert "so the previous ones are active again" in message(login_works=False, finished=True)
    assert "so the previous ones are restored within 30 s" in message(login_works=False, finished=False)
    late = message(login_works=True, finished=False)
    assert "allow a login, but were not confirmed within 30 s, so the previous ones were restored" in late
