"""Metrics from the store: the same as those that runs write into the textfile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from jobs.cli import metrics
from jobs.run import Options, Outcome, Result, run_job
from jobs.run import metrics as run_metrics
from jobs.run.pushing import MetricsGateway
from jobs.status.stored_metrics import stored_samples
from tests.parts.runs import clock, done, environment, job, store_in

NOON = datetime(2026, 5, 5, 10, tzinfo=UTC)
SHOP = '[databases.shop]\nurl = "postgresql://me@db/shop"\nbackup = "0 */6 * * *"\n'


def test_they_are_those_of_the_textfile(tmp_path: Path) -> None:
    textfile = tmp_path / "groundcrew.prom"
    env, store = environment(textfile=textfile, more=SHOP), store_in(tmp_path / "store")
    for hours, outcome in ((0, Outcome.DONE), (6, Outcome.FINDING), (12, Outcome.FAILED)):
        work = job(
            lambda _run, o=outcome: Result(o, "x", {"stored_bytes": 12}), line="0 */6 * * *", compared=("stored_bytes",)
        )
        run_job(work, env, store, Options(), now=clock(NOON + timedelta(hours=hours)))
    written = run_metrics.from_text(textfile.read_text())
    assert stored_samples(env, store, NOON + timedelta(hours=12)) == written
    assert [value for (name, _), value in written.items() if name == run_metrics.EVIDENCE_GAP.name] == [6 * 3600]


def test_subjects_that_left_the_file_have_none(tmp_path: Path) -> None:
    env, store = environment(), store_in(tmp_path)
    run_job(job(done, "gone"), env, store, Options())
    assert stored_samples(env, store, NOON) == {}


def test_without_its_record_a_run_has_what_the_lock_says(tmp_path: Path) -> None:
    env, store = environment(more=SHOP), store_in(tmp_path)
    (record,) = run_job(job(done), env, store, Options(), now=clock(NOON))
    store.delete([record.key])
    samples = {name: value for (name, _), value in stored_samples(env, store, NOON).items()}
    assert samples[run_metrics.LAST_RUN.name] == samples[run_metrics.LAST_SUCCESS.name] == NOON.timestamp()


def test_a_gateway_that_does_not_answer_is_left_alone_for_a_minute(tmp_path: Path) -> None:
    (record,) = run_job(job(done), environment(), store_in(tmp_path), Options())
    gateway = MetricsGateway("http://127.0.0.1:1")
    with pytest.raises(OSError, match="refused"):
        gateway.push(record)
    gateway.push(record)
    MetricsGateway("").push(record)


def test_the_server_answers_scrapes_of_half_a_minute_with_one_text() -> None:
    import threading

    texts = iter(["one 1\n"])
    with metrics.metrics_server(("127.0.0.1", 0), lambda: next(texts)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        for _ in range(2):
            with urlopen(f"{base}/metrics") as answer:
                assert answer.read() == b"one 1\n"
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{base}/")
        server.shutdown()
