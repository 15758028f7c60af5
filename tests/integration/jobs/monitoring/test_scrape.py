"""A real Prometheus scrapes the metrics where no file is collected: pushed by runs, and computed from the store."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

from jobs.cli.metrics import metrics_server
from jobs.embedded import free_port
from jobs.run import Options, Outcome, Result, run_job
from jobs.run.documents import utc_now
from jobs.run.metrics import to_text
from jobs.status.stored_metrics import stored_samples
from tests.parts.needs import needs
from tests.parts.patience import until
from tests.parts.runs import environment, job, store_in

DATABASES = '[databases.shop]\nurl = "postgresql://me@db/shop"\n'


@needs("prometheus")
@needs("prometheus-pushgateway")
def test_prometheus_gets_the_same_figures_from_a_gateway_and_from_the_store(tmp_path: Path) -> None:
    gateway, prometheus = free_port(), free_port()
    env = environment(more=DATABASES)
    env = replace(env, metrics=replace(env.metrics, push=f"http://127.0.0.1:{gateway}"))
    store, results = store_in(tmp_path / "store"), [Outcome.DONE, Outcome.FAILED]
    with (
        started(["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{gateway}"], gateway),
        metrics_server(("127.0.0.1", 0), lambda: to_text(stored_samples(env, store, utc_now()))) as server,
    ):
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        work = job(lambda _run: Result(results.pop(0), "x", {"stored_bytes": 12}), compared=("stored_bytes",))
        (first,) = run_job(work, env, store, Options())
        run_job(work, env, store, Options())
        config = tmp_path / "prometheus.yml"
        config.write_text(CONFIG.format(gateway=gateway, store=server.server_port))
        argv = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        with started([*argv, f"--web.listen-address=127.0.0.1:{prometheus}"], prometheus):
            until(lambda: is_ready(prometheus))
            until(lambda: len(values(prometheus, "groundcrew_last_run_outcome")) == 2)
            assert set(values(prometheus, "groundcrew_last_run_outcome").values()) == {1.0}
            success = values(prometheus, "groundcrew_last_success_timestamp_seconds")
            assert [round(value) for value in success.values()] == [round(first.ended.timestamp())] * 2
            gaps = values(prometheus, "groundcrew_evidence_gap_seconds")
            assert len(gaps) == 2
            assert len(set(gaps.values())) == 1
            assert set(values(prometheus, 'groundcrew_last_run_figure{figure="stored_bytes"}').values()) == {12.0}
        server.shutdown()


CONFIG = """
global: {{ scrape_interval: 1s }}
scrape_configs:
  - job_name: gateway
    honor_labels: true
    static_configs: [{{ targets: ["127.0.0.1:{gateway}"] }}]
  - job_name: store
    static_configs: [{{ targets: ["127.0.0.1:{store}"] }}]
"""


def values(port: int, query: str) -> dict[str, float]:
    """Return the samples of a query, by the job of Prometheus."""
    with urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={quote(query)}") as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    assert all(
        (one["metric"]["environment"], one["metric"]["crew_job"], one["metric"]["subject"])
        == ("staging", "backup", "shop")
        for one in found
    )
    return {one["metric"]["job"]: float(one["value"][1]) for one in found}


def is_ready(port: int) -> bool:
    with suppress(HTTPError), urlopen(f"http://127.0.0.1:{port}/-/ready"):
        return True
    return False


@contextmanager
def started(argv: Sequence[str], port: int) -> Iterator[None]:
    """Start a server, wait until it accepts connections, and end it."""

    def accepts() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            until(accepts)
            yield
        finally:
            server.terminate()
