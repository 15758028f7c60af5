"""A cluster's cost from OpenCost: the request, its answers, and answers of something else."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from inventories import Environment
from jobs.checks.check import result_of
from jobs.checks.cost import checks
from jobs.cost.bill import Busy, Charge, ChargeKind, CostError
from jobs.cost.opencost import allocation_path, fetch_cluster_bill, read_allocations
from jobs.run.documents import utc_now
from tests.parts.bills import at
from tests.parts.listeners import Received, web_hook
from tests.parts.runs import environment

API = "http://opencost:9003"


def day_of(day: date | str, **costs: float) -> dict[str, Any]:
    """Return one day of an answer."""
    window = {"start": f"{day}T00:00:00Z", "end": f"{day}T24:00:00Z"}
    return {name: {"name": name, "window": window, "totalCost": cost} for name, cost in costs.items()}


def body(*days: dict[str, Any] | None) -> bytes:
    return json.dumps({"code": 200, "data": days}).encode()


def test_namespaces_and_idle_capacity_are_charges() -> None:
    answer = body(day_of("2026-11-03", shop=1.25, __idle__=3, empty=0), None, day_of("2026-11-04", shop=2))
    assert list(read_allocations(answer, API)) == [
        Charge(date(2026, 11, 3), "shop", ChargeKind.USE, Decimal("1.25")),
        Charge(date(2026, 11, 3), "(idle)", ChargeKind.USE, Decimal(3)),
        Charge(date(2026, 11, 4), "shop", ChargeKind.USE, Decimal(2)),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>", b"{}", b"[]", b'{"data": 3}', b'{"data": [[1]]}', body({"shop": {}}),
        body({"shop": {"totalCost": "NaN", "window": {"start": "2026-11-03T00:00:00Z"}}}),
        body({"shop": {"totalCost": 1, "window": {"start": "\x1b[2J"}}}), b"[" * 100_000,
    ],
)  # fmt: skip
def test_an_answer_of_something_else_is_named(answer: bytes) -> None:
    with pytest.raises(CostError, match=f"^{API} does not answer like OpenCost .*; set cost.api") as error:
        list(read_allocations(answer, API))
    assert "\x1b" not in str(error.value)


def test_the_request_is_for_whole_days_of_two_months() -> None:
    assert allocation_path("/model/", at("2026-11-16")) == (
        "/model/allocation?window=2026-09-15T00%3A00%3A00Z%2C2026-11-17T00%3A00%3A00Z"
        "&step=1d&aggregate=namespace&includeIdle=true"
    )


def cluster(server: Received) -> Environment:
    return environment(more=f'\n[cost]\nfrom = "opencost"\napi = "http://127.0.0.1:{server.port}"\nbudget = 300\n')


def test_a_month_of_a_cluster() -> None:
    today = utc_now().date()
    with web_hook() as server:
        server.body = body(*(day_of(today - timedelta(days=back), shop=4, __idle__=1) for back in range(30, -1, -1)))
        bill = fetch_cluster_bill(cluster(server), utc_now())
        (check,) = checks(cluster(server))
        assert f"has the cost of 31 days, the first {today - timedelta(days=30)}" in str(result_of(check))
    assert (len(bill.charges), bill.currency, bill.price) == (62, "USD", "free of charge")
    assert bill.remaining
    assert bill.remaining % 5 == 0
    assert server.requests[0][0].startswith("GET /allocation?window=")


@pytest.mark.parametrize(
    ("status", "error", "fact"),
    [
        (404, CostError, "answers 404; check cost.api"),
        (503, Busy, "answers 503; read its log"),
        (200, CostError, "has no costs; check that it reaches its Prometheus"),
    ],
)
def test_faults_of_opencost(status: int, error: type[Exception], fact: str) -> None:
    with web_hook() as server:
        server.answer, server.body = status, body()
        with pytest.raises(error, match=fact):
            fetch_cluster_bill(cluster(server), utc_now())


def test_no_answer_is_transient() -> None:
    with web_hook() as server:
        env = cluster(server)
    with pytest.raises(Busy, match="did not answer"):
        fetch_cluster_bill(env, utc_now())
