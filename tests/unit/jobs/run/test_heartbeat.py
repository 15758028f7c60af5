"""The addresses of heartbeats: those of healthchecks, or one URL for other monitors."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.run import Options, Outcome, Result, run_job
from jobs.run.heartbeat import ping_address
from tests.parts.listeners import web_hook
from tests.parts.runs import environment, job, store_in


@pytest.mark.parametrize(
    ("address", "event", "url"),
    [
        ("https://hc.example/1", "start", "https://hc.example/1/start?rid=x"),
        ("https://hc.example/1/?a=b", "0", "https://hc.example/1/0?a=b&rid=x"),
        ("https://kuma.example/api/push/1?status=up#get", "start", None),
        ("https://kuma.example/api/push/1?status=up#get", "1", None),
        ("https://kuma.example/api/push/1?status=up#get", "0", "https://kuma.example/api/push/1?status=up"),
    ],
)
def test_the_url_of_a_ping(address: str, event: str, url: str | None) -> None:
    assert ping_address(address, event, "x") == url


def test_a_monitor_with_one_url_gets_a_get_after_good_runs_only(tmp_path: Path) -> None:
    with web_hook() as hook:
        env = environment(heartbeat={"backup": f"http://127.0.0.1:{hook.port}/push?status=up#get"})
        for outcome in (Outcome.FAILED, Outcome.DONE):
            run_job(job(lambda _run, o=outcome: Result(o, "x")), env, store_in(tmp_path), Options())
    assert hook.requests == [("GET /push?status=up", "")]
