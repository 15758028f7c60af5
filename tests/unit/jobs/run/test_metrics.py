import stat
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.run import Options, Outcome, Record, run_job
from jobs.run.metrics import METRICS, from_text, merged, samples_of, to_text, write
from tests.parts.runs import done, environment, job, store_in

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    (record,) = run_job(job(done), environment(), store_in(tmp_path / "store"), Options(), now=lambda: NOON)
    return record


def test_a_run_in_the_text_format_of_prometheus(record: Record) -> None:
    lines = [line for line in to_text(samples_of(record)).splitlines() if not line.startswith("#")]
    of = 'crew_job="backup",environment="staging",subject="shop"'
    assert lines == [
        f"groundcrew_last_run_timestamp_seconds{{{of}}} 1.7779752e+09",
        f"groundcrew_last_success_timestamp_seconds{{{of}}} 1.7779752e+09",
        f"groundcrew_last_run_duration_seconds{{{of}}} 0.0",
        f"groundcrew_last_run_outcome{{{of}}} 0.0",
        f"groundcrew_last_run_attempts{{{of}}} 1.0",
        f"groundcrew_last_run_missed_ticks{{{of}}} 0.0",
        'groundcrew_last_run_figure{crew_job="backup",environment="staging",figure="stored_bytes",subject="shop"} 12.0',
    ]


def test_every_metric_has_help_and_type(record: Record) -> None:
    text = to_text(samples_of(record))
    assert all(f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge" in text for metric in METRICS)


def test_text_is_parsed_to_the_same_samples(record: Record) -> None:
    odd = samples_of(replace(record, subject='a "b" \\ c\nd', figures={"x": 0.1 + 0.2}))
    assert from_text(to_text(odd)) == odd


def test_a_failure_keeps_the_last_success_and_drops_old_figures(record: Record) -> None:
    later = replace(record, outcome=Outcome.FAILED, ended=NOON + timedelta(days=1), figures={"tries": 3})
    text = to_text(merged(samples_of(record), samples_of(later)))
    of = 'crew_job="backup",environment="staging",subject="shop"'
    assert f"groundcrew_last_success_timestamp_seconds{{{of}}} 1.7779752e+09" in text
    assert "stored_bytes" not in text
    assert 'figure="tries"' in text


def test_the_next_run_drops_subjects_that_left_the_file(record: Record, tmp_path: Path) -> None:
    env = environment(textfile=tmp_path / "groundcrew.prom")
    others = (("backup", "gone", "staging"), ("backup", "gone", "production"), ("verify", "gone", "staging"))
    for job_name, subject, of in others:
        write(replace(record, job=job_name, subject=subject, environment=of), env)
    shop_alone = job(done, has_subject=lambda _environment, subject: subject == "shop")
    run_job(shop_alone, env, store_in(tmp_path / "store"), Options())
    left = [dict(labels) for _, labels in from_text((tmp_path / "groundcrew.prom").read_text())]
    assert {(one["crew_job"], one["subject"], one["environment"]) for one in left} == {
        ("backup", "shop", "staging"), *others[1:],
    }  # fmt: skip


def test_parallel_runs_lose_no_samples_and_any_user_can_read_them(record: Record, tmp_path: Path) -> None:
    textfile = tmp_path / "groundcrew.prom"
    env = environment(textfile=textfile)
    names = [f"db{number}" for number in range(12)]
    threads = [threading.Thread(target=write, args=(replace(record, subject=name), env)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {dict(labels)["subject"] for _, labels in from_text(textfile.read_text())} == set(names)
    assert stat.S_IMODE(textfile.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.glob("*.prom")] == ["groundcrew.prom"]


def test_a_scheduled_job_has_its_period(tmp_path: Path) -> None:
    env = environment(textfile=tmp_path / "groundcrew.prom")
    for line in ("0 */6 * * *", None):
        run_job(job(done, line=line), env, store_in(tmp_path / "store"), Options(), now=lambda: NOON)
        apart = [
            v for (name, _), v in from_text((tmp_path / "groundcrew.prom").read_text()).items() if "period" in name
        ]
        assert apart == ([21600.0] if line else [])
