"""Runs that race, are killed or are stopped: real processes on a real store."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from inventories import Secret
from jobs.run import Options, Outcome, Result, Run, delivery, exit_code, heartbeat, records, run_job
from jobs.run.record import record_keys
from jobs.store import Store, open_store
from tests.parts.examples import share
from tests.parts.listeners import mail_server, web_hook
from tests.parts.patience import deadline, until
from tests.parts.runs import NEVER_ABANDONED, code_of, done, environment, job, lease, process, store_in
from tests.parts.s3 import Bucket
from tests.parts.store import Settings

FIRST = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
SCHEDULED = Options(scheduled=True)
APPRISE = delivery.send_by_apprise
LOCK = "staging/locks/backup/shop.json"


TICKS = share(100)


@pytest.fixture(params=["directory", pytest.param("seaweed", marks=pytest.mark.long)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Return a function that opens the same store in each process: a shared directory, or S3 over the network."""
    if request.param == "directory":
        return lambda: store_in(tmp_path / "store")
    bucket: Bucket = request.getfixturevalue("seaweed")
    return lambda: open_store(Settings(bucket.url, bucket.region, bucket.endpoint))


def released(store: Store, lock: str = LOCK) -> bool:
    return bool(json.loads(store.get(lock).body)["released"])


def test_two_racing_runners_complete_each_tick_once(tmp_path: Path, opened: Callable[[], Store]) -> None:
    ran = tmp_path / "ran"

    def work(run: Run) -> Result:
        with ran.open("a") as file:
            file.write(f"{run.tick}\n")
        return done(run)

    minutely = job(work, line="* * * * *", lease=lease(5))

    start = multiprocessing.get_context("fork").Barrier(2)

    def program() -> int:
        failed, store = 0, opened()
        for minute in range(TICKS):
            now = FIRST + timedelta(minutes=minute)
            start.wait(deadline(30))
            failed += exit_code(run_job(minutely, environment(), store, SCHEDULED, now=lambda: now), scheduled=True)  # noqa: B023
        return failed

    with process(program) as one, process(program) as other:
        assert code_of(one) == 0
        assert code_of(other) == 0
    ticks = ran.read_text().splitlines()
    assert len(ticks) == len(set(ticks)) == TICKS
    assert len(list(record_keys(opened(), "staging", "backup", "shop"))) == TICKS
    assert released(opened())


def test_the_lock_of_a_killed_run_is_taken_over_after_its_lease(tmp_path: Path) -> None:
    store, started = store_in(tmp_path / "store"), tmp_path / "started"

    def hangs(_run: Run) -> Result:
        started.touch()
        time.sleep(60)
        raise AssertionError

    def program(work: Callable[[Run], Result]) -> Callable[[], int]:
        daily = job(work, line="0 12 * * *", lease=lease(1))
        return lambda: exit_code(run_job(daily, environment(), store, SCHEDULED, now=lambda: FIRST), scheduled=True)

    with process(program(hangs)) as victim:
        until(started.exists)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        with process(program(done)) as successor:
            assert code_of(successor) == 0
    assert time.monotonic() - killed < deadline(2)
    record, died = sorted(records(store, "staging"), key=lambda each: each.outcome is Outcome.DIED)
    assert (record.outcome, died.outcome, died.pid) == (Outcome.DONE, Outcome.DIED, victim)
    assert f"(pid {victim})" in (record.took_over or "")
    assert record.attempts == 2
    assert "lock taken over" in record.log[1]


def works_with_everything(run: Run) -> Result:
    """Do work that a signal can interrupt anywhere: a process, an upload, steps and checks."""
    with run.store.upload(f"staging/backups/{run.subject}/{run.id}/data") as upload, run.step("dump"):
        source = run.process(["sh", "-c", "while true; do echo 0123456789; sleep 0.01; done"], stdout=subprocess.PIPE)
        assert source.stdout
        for _ in range(15):
            run.check()
            upload.write(source.stdout.read(11))
        run.check()
        upload.complete()
    return done(run)


SIGNALS = 12


def test_a_sigterm_at_any_time_leaves_a_record_a_free_lock_and_no_open_upload(
    tmp_path: Path, opened: Callable[[], Store]
) -> None:
    seed = random.randrange(10**6)
    print(f"seed: {seed}")
    times, whole = random.Random(seed), 0
    for number in range(SIGNALS):
        subject = f"shop-{number}"

        def program(subject: str = subject) -> int:
            work = job(works_with_everything, subject)
            return exit_code(
                run_job(work, environment(), opened(), Options(), timeouts=NEVER_ABANDONED), scheduled=False
            )

        store = opened()
        lock = LOCK.replace("shop", subject)
        with process(program) as pid:
            until(lambda lock=lock, store=store: list(store.list(lock)))  # type: ignore[misc]
            time.sleep(times.uniform(0, 0.25))
            os.kill(pid, signal.SIGTERM)
            code = code_of(pid)
        (record,) = records(store, "staging", "backup", subject)
        assert released(store, lock), f"signal {number}"
        assert not list(store.open_uploads()), f"signal {number}"
        stored = list(store.list(f"staging/backups/{subject}/"))
        if record.outcome is Outcome.DONE:  # a signal after the end of run_job() kills the process
            whole += 1
            assert code in (0, -signal.SIGTERM), f"signal {number}"
            assert len(stored) == 1
        else:
            assert record.stopped == record.sentence == "stopped by SIGTERM"
            assert code == 1, f"signal {number}"
            assert not stored
    assert whole < SIGNALS, "no signal came in time to stop a run"


def test_a_second_interrupt_causes_a_warning_about_the_risk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    started, enough = tmp_path / "started", tmp_path / "enough"

    def stubborn(run: Run) -> Result:
        started.touch()
        until(enough.exists)
        run.check()
        raise AssertionError

    def program() -> int:
        ended = run_job(job(stubborn), environment(), store_in(tmp_path), Options())
        return exit_code(ended, scheduled=False)

    output: list[str] = []

    def printed() -> str:
        output.extend(capfd.readouterr())
        return "".join(output)

    with process(program) as pid:
        until(started.exists)
        os.kill(pid, signal.SIGINT)
        until(lambda: "stopping" in printed())  # the system merges two signals that come at once
        os.kill(pid, signal.SIGINT)
        until(lambda: "still stopping" in printed())
        enough.touch()
        assert code_of(pid) == 1
    assert "its lock stays for 60 s" in printed()


@pytest.fixture
def failing() -> Callable[[Run], Result]:
    return lambda _run: Result(Outcome.FAILED, "no route to db.internal")


def test_a_failure_and_its_recovery_reach_web_hook_and_mail(tmp_path: Path, failing: Callable[[Run], Result]) -> None:
    store = store_in(tmp_path)
    with web_hook() as hook, mail_server() as mail:
        mailto = f"mailto://127.0.0.1:{mail.port}/?from=crew@acme.example&to=ops@acme.example&mode=insecure"
        env = environment((f"json://127.0.0.1:{hook.port}/alerts", mailto))
        for work in (failing, failing, done, done):
            run_job(job(work), env, store, Options())
    messages = [json.loads(body) for _, body in hook.requests]
    assert [message["title"] for message in messages] == [
        "staging: backup of shop is failing: no route to db.internal",
        "staging: backup of shop works again",
    ]
    assert "no route to db.internal" in messages[0]["message"]
    assert "crew runs staging backup shop" in messages[0]["message"]
    assert len(mail.mails) == 2


def test_a_broken_or_slow_web_hook_fails_no_run_and_delays_it_little(
    tmp_path: Path, failing: Callable[[Run], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "DELIVERY_TIMEOUT", 0.3)
    monkeypatch.setattr(heartbeat, "PING_TIMEOUT", 0.3)
    with web_hook() as hook:
        address = f"127.0.0.1:{hook.port}"
        env = environment((f"json://{address}/", "json://127.0.0.1:1/"), {"backup": f"http://{address}/beat"})
        hook.answering.clear()

        def program() -> int:
            before = time.monotonic()
            run_job(job(failing), env, store_in(tmp_path), Options())
            return int(time.monotonic() - before > deadline(1.5))

        with process(program) as pid:
            assert code_of(pid) == 0
    (record,) = records(store_in(tmp_path), "staging")
    assert record.sentence == "no route to db.internal"


def test_an_alert_is_sent_twice_if_the_run_is_killed_before_it_records_the_delivery(
    tmp_path: Path, failing: Callable[[Run], Result]
) -> None:
    store = store_in(tmp_path / "store")

    def dies_after(address: Secret, message: delivery.Message) -> bool:
        assert APPRISE(address, message)
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    with web_hook() as hook:
        env = environment((f"json://127.0.0.1:{hook.port}/",))

        def program(send: delivery.Sender, now: datetime) -> Callable[[], int]:
            def body() -> int:
                delivery.send_by_apprise = send
                run_job(job(failing, lease=lease(0.5)), env, store, SCHEDULED, now=lambda: now)
                return 0

            return body

        with process(program(dies_after, FIRST)) as killed:
            assert code_of(killed) == -signal.SIGKILL
        for minutes in (1, 2, 3):
            with process(program(APPRISE, FIRST + timedelta(minutes=minutes))) as pid:
                assert code_of(pid) == 0
    assert len(hook.requests) == 2


def test_the_next_run_sends_the_alert_of_a_killed_run(tmp_path: Path, failing: Callable[[Run], Result]) -> None:
    store = store_in(tmp_path / "store")

    def dies(_address: Secret, _message: delivery.Message) -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return False

    with web_hook() as hook:
        env = environment((f"json://127.0.0.1:{hook.port}/",))

        def program() -> int:
            delivery.send_by_apprise = dies
            run_job(job(failing, lease=lease(0.5)), env, store, SCHEDULED, now=lambda: FIRST)
            return 0

        with process(program) as killed:
            assert code_of(killed) == -signal.SIGKILL
        run_job(job(failing), env, store, SCHEDULED, now=lambda: FIRST + timedelta(minutes=1))
    assert len(hook.requests) == 1


@pytest.mark.parametrize(
    ("outcome", "last"), [(Outcome.DONE, "/beat/0"), (Outcome.FINDING, "/beat/0"), (Outcome.FAILED, "/beat/1")]
)
def test_a_heartbeat_has_a_start_and_an_end_with_the_same_id(tmp_path: Path, outcome: Outcome, last: str) -> None:
    with web_hook() as hook:
        env = environment(heartbeat={"backup": f"http://127.0.0.1:{hook.port}/beat?x=1"})
        run_job(job(lambda _run: Result(outcome, "text " * 50_000), "shop", "crm"), env, store_in(tmp_path), Options())
    assert hook.paths == ["/beat/start", last]
    first, second = (parse_qs(urlsplit(path).query) for path, _ in hook.requests)
    assert first == second
    assert first["x"] == ["1"]
    assert len(first["rid"][0]) == 36
    assert len(hook.requests[1][1]) == 100_000
    assert "backup/shop: " in hook.requests[1][1]


def test_no_heartbeat_for_a_run_that_was_skipped(tmp_path: Path) -> None:
    with web_hook() as hook:
        env = environment(heartbeat={"backup": f"http://127.0.0.1:{hook.port}/beat", "drift": "http://127.0.0.1:1/"})
        daily = job(done, line="0 12 * * *")
        for _ in range(2):
            run_job(daily, env, store_in(tmp_path), SCHEDULED, now=lambda: FIRST)
    assert hook.paths == ["/beat/start", "/beat/0"]
