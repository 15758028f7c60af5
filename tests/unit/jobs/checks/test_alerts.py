"""Alert addresses, heartbeats and the metrics file are checked, and nothing is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories import Secret
from jobs.checks import CheckResult, CheckVerdict, ok
from jobs.checks.alerts import check_alert_address, check_heartbeat, check_textfile


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_heartbeat_address_is_connected_to_and_not_pinged(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(url: str) -> CheckResult:
        monkeypatch.setenv("BEAT", url)
        return check_heartbeat(Secret(env="BEAT"))

    assert check(f"http://127.0.0.1:{listener}/uuid-secret") == ok(f"127.0.0.1:{listener} accepts connections")
    refused = check("http://127.0.0.1:1/uuid-secret")
    assert refused.verdict is CheckVerdict.FAULT
    assert "uuid-secret" not in str(refused)
    assert check("ftp://127.0.0.1/x").verdict is CheckVerdict.FAULT


def test_an_alert_address_is_parsed_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TO", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    result = check_alert_address(Secret(env="TO"))
    assert result.verdict is CheckVerdict.OK, result
    assert "T1JJ3T3L2" not in str(result)
    monkeypatch.setenv("TO", "nonsense")
    assert check_alert_address(Secret(env="TO")).verdict is CheckVerdict.FAULT


def test_the_metrics_directory_must_exist(tmp_path: Path) -> None:
    assert check_textfile(tmp_path / "x.prom").verdict is CheckVerdict.OK
    assert check_textfile(tmp_path / "nowhere" / "x.prom").verdict is CheckVerdict.WARN
