"""Whatever somebody writes into the store, reading it gives our own errors and never a traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventories import Cost
from jobs.cli.run import record_as_json
from jobs.cost import cache, focus
from jobs.cost.bill import Bill, Charge, ChargeKind, Commitments, DayOfUsage, TaggedUsage
from jobs.cost.cache import encode_bill
from jobs.cost.focus_rows import Sums
from jobs.cost.notices import cost_findings, cost_notice
from jobs.cost.report import report_on
from jobs.format import format_duration
from jobs.run import Failed, Notice, Options, Outcome, Result, alerts, notices, run_job
from jobs.run.documents import from_body, to_body
from jobs.run.holders import read_holders, snapshot_key, write_snapshot
from jobs.run.lease import holder_from, holder_to, lock_held_error, process_is_gone
from jobs.run.record import record_from, record_to
from jobs.status.evidence import JOBS_OF_EVIDENCE, database_evidence
from tests.parts.examples import examples
from tests.parts.hostile import hostile
from tests.parts.runs import QUICK, environment, job, store_in

NOW = datetime(2026, 11, 29, 2, tzinfo=UTC)
BILL = Bill(
    fetched=NOW,
    currency="USD",
    charges=(Charge(NOW.date(), "Amazon EC2", ChargeKind.USE, Decimal("1.50")),),
    remaining=Decimal(20),
    estimated=frozenset([NOW.date()]),
    pages=1,
    price="0.01 USD",
    link="https://console.aws.amazon.com",
    usage=(DayOfUsage(NOW.date(), "Amazon EC2", "m5.large", "data", Decimal("1.50")),),
    tagged=(TaggedUsage("Owner", "", "Amazon EC2", Decimal("1.50")),),
    commitments=Commitments(Decimal(10), Decimal(1)),
)
COST = Cost(budget=100, owner_tag="Owner", stack_tag="Stack", stacks={"network": 10}, commitments=90)
SUMS = Sums(
    {("USD", NOW.date(), "EC2", ChargeKind.USE): Decimal("1.5")},
    {("USD", NOW.date(), "EC2", "m5.large", "data"): Decimal("1.5")},
    {("USD", date(2026, 11, 1), "Owner", "data", "EC2"): Decimal("1.5")},
    {("USD", NOW.date(), "Unused"): Decimal("0.5")},
)


def use_record(body: bytes) -> None:
    record = record_from("key", body)
    assert all((record.key, record.name, record.summary, str(record.duration)))
    record_to(record)
    record_as_json(record)
    for kind in JOBS_OF_EVIDENCE:
        done = replace(record, job=kind, outcome=Outcome.DONE)
        evidence = database_evidence(
            "shop", [done], [], to_next=timedelta(days=1), policy="", since=NOW - timedelta(days=2), until=NOW
        )
        for name in ("longest_recovery_time_seconds", "longest_time_between_verifications_seconds"):
            assert format_duration(timedelta(seconds=evidence[name] or 0))


def use_lock(body: bytes) -> None:
    holder = holder_from("key", body)
    for use in (holder.expired, holder.overdue, holder.runs.earlier_try, holder.runs.tick_before):
        use(NOW)
    assert holder.runs.longest_gap is None or holder.runs.longest_gap >= 0
    lock_held_error("staging", "backup/shop", holder, NOW, ZoneInfo("Europe/Berlin"))
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


def use_bill(body: bytes) -> None:
    query, bill = from_body("key", body, cache._decode_bill)
    assert encode_bill(bill, query)
    assert sum(charge.amount for charge in bill.charges) < 10**30
    assert cost_findings(report_on(replace(bill, currency="USD"), COST), COST) is not None
    assert not bill.link or bill.link.startswith("https://")


def use_exports(body: bytes) -> None:
    read = from_body("key", body, partial(focus.decode_exports, settings=COST))
    bill = focus.bill_of(read, "USD", NOW, new=0, where="s3://exports")
    assert cost_notice(report_on(bill, COST), COST, (), NOW.date()) is not None


USES: dict[str, Callable[[bytes], None]] = {
    "runs": use_record,
    "locks": use_lock,
    "alerts": use_alerts,
    "notices": use_notices,
    "bill": use_bill,
    "exports": use_exports,
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
        "bill": encode_bill(BILL, {"tags": {}, "role": ""}),
        "exports": focus.encode_exports({"version": SUMS}, COST),
    }


@pytest.mark.parametrize("kind", USES)
def test_a_hostile_document_is_used_or_refused(documents: dict[str, bytes], kind: str) -> None:
    USES[kind](documents[kind])

    @examples(1000, database=None)
    @given(st.integers(0, 2**32))
    def uses(seed: int) -> None:
        with suppress(Failed):
            USES[kind](hostile(documents[kind], seed))

    uses()


@pytest.mark.parametrize("lock", [b"\xff\xfe", b"{}", b'{"format": 1}'])
def test_a_damaged_lock_is_named_and_no_bug(tmp_path: Path, lock: bytes) -> None:
    store = store_in(tmp_path / "store")
    store.put("staging/locks/backup/shop.json", lock)
    with pytest.raises(Failed, match=r"^staging/locks/backup/shop\.json: this is not a document of groundcrew"):
        read_holders(store, "staging")


@pytest.mark.parametrize("body", [5, None, [], "x"])
def test_a_damaged_copy_of_the_locks_is_not_used(tmp_path: Path, documents: dict[str, bytes], body: object) -> None:
    store = store_in(tmp_path / "store")
    store.put("staging/locks/backup/shop.json", documents["locks"])
    [listed] = store.list("staging/locks/")
    copied = {"staging/locks/backup/shop.json": (listed.version, body)}
    store.put(snapshot_key("staging"), to_body({"locks": copied}))
    if body == "x":  # of the right type, but no document
        with pytest.raises(Failed, match="this is not a document of groundcrew"):
            read_holders(store, "staging")
    else:
        assert read_holders(store, "staging").keys() == {"backup/shop"}


def test_a_huge_copy_of_the_locks_is_not_read_and_foreign_copies_do_not_stay(
    tmp_path: Path, documents: dict[str, bytes]
) -> None:
    store, key = store_in(tmp_path / "store"), "staging/locks/backup/shop.json"
    store.put(key, documents["locks"])
    store.put(snapshot_key("staging"), b'{"format": 1, "locks": {"x": ["", "' + b"x" * 2_000_000 + b'"]}}')
    assert read_holders(store, "staging").keys() == {"backup/shop"}
    store.put(snapshot_key("staging"), to_body({"locks": {"staging/locks/foreign.json": ("", "x")}}))
    [listed] = store.list("staging/locks/")
    write_snapshot(store, "staging", {key: (listed.version, documents["locks"])})
    assert b"foreign" not in store.get(snapshot_key("staging")).body
