"""Whatever somebody writes into the store, reading it gives our own errors and never a traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli.run import record_as_json
from jobs.run import Failed, Notice, Options, Outcome, Result, alerts, notices, run_job
from jobs.run.documents import from_body, to_body
from jobs.run.lease import holder_from, holder_to, lock_held, process_is_gone
from jobs.run.record import record_from, record_to
from tests.parts.hostile import hostile
from tests.parts.runs import QUICK, environment, job, store_in

NOW = datetime(2026, 11, 29, 2, tzinfo=UTC)
CASES = 1000


def use_record(body: bytes) -> None:
    record = record_from("key", body)
    assert all((record.key, record.name, record.summary, str(record.duration)))
    record_to(record)
    record_as_json(record)


def use_lock(body: bytes) -> None:
    holder = holder_from("key", body)
    for use in (holder.expired, holder.overdue, holder.runs.earlier_try, holder.runs.tick_before):
        use(NOW)
    lock_held("staging", "backup/shop", holder, NOW, ZoneInfo("Europe/Berlin"))
    process_is_gone(replace(holder, host=socket.gethostname()))
    assert holder.runs.times is not None
    holder_to(holder)


def use_alerts(body: bytes) -> None:
    state = from_body("key", body, alerts._parse)
    for outcome in (Outcome.DONE, Outcome.FAILED, Outcome.FINDING):
        alerts.alert_reason(state, outcome, "about", NOW, timedelta(days=1))
        alerts.after_run(state, outcome, NOW)


def use_notices(body: bytes) -> None:
    state = from_body("key", body, notices._parse)
    notices.with_notice(state, Notice(("key",), "title", "text"), "staging", ("json://127.0.0.1:1/hook",))


USES: dict[str, Callable[[bytes], None]] = {
    "runs": use_record,
    "locks": use_lock,
    "alerts": use_alerts,
    "notices": use_notices,
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The record and the lock of a run with a notice, and what alerts and notices keep."""
    store = store_in(tmp_path_factory.mktemp("store"))
    result = Result(Outcome.FINDING, "found", {"rows": 12}, notice=Notice(("key",), "title", "text"))
    run_job(job(lambda _run: result), environment(), store, Options(scheduled=True), timeouts=QUICK)
    keys = {entry.key.split("/")[1]: entry.key for entry in store.list("staging/") if "latest" not in entry.key}
    alert = alerts.AlertState(Outcome.FAILED, NOW, Outcome.FINDING, NOW, "about", "reason", ("address",), NOW)
    notice = notices.NoticeState(("key",), (notices.UndeliveredNotice("title", "text", ("address",)),), NOW)
    return {
        "runs": store.get(keys["runs"]).body,
        "locks": store.get(keys["locks"]).body,
        "alerts": to_body(asdict(alert)),
        "notices": to_body(asdict(notice)),
    }


@pytest.mark.parametrize("kind", USES)
def test_a_hostile_document_is_used_or_refused(documents: dict[str, bytes], kind: str) -> None:
    USES[kind](documents[kind])

    @settings(max_examples=CASES, deadline=None, database=None)
    @given(st.integers(0, 2**32))
    def uses(seed: int) -> None:
        with suppress(Failed):
            USES[kind](hostile(documents[kind], seed))

    uses()
