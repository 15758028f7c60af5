"""Fetch what a Kubernetes cluster costs from the API of OpenCost, by namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from inventories import Environment
from inventories.printable import printable
from jobs.cost.bill import Bill, Busy, Charge, ChargeKind, CostError
from jobs.cost.focus import LATE, first_day, remaining_cost
from jobs.network import is_unknown_host
from jobs.run.field_types import require_types

ANSWER_TIMEOUT = 120  # seconds: OpenCost computes each day from Prometheus
LARGEST_ANSWER = 64 << 20
A_DAY = timedelta(days=1)


def fetch_cluster_bill(environment: Environment, now: datetime) -> Bill:
    """Fetch the cost of each namespace on each day of the last two months, as far as OpenCost's data goes."""
    settings = environment.cost
    if settings is None or not settings.api:
        raise CostError(f"{environment.name}: cost.api is not set, so there is no OpenCost to query")
    charges = tuple(charge for charge in read_allocations(_answer(settings.api, now), settings.api))
    newest = max((charge.day for charge in charges), default=None)
    if newest is None or newest < now.date() - LATE:
        since = f"has no cost since {newest}" if newest else "has no costs"
        raise CostError(f"OpenCost at {settings.api} {since}; check that it reaches its Prometheus")
    return Bill(
        fetched=now,
        currency=settings.currency,
        charges=charges,
        remaining=remaining_cost(charges, newest, now.date()),
        estimated=frozenset({newest, newest - A_DAY}),
        pages=1,
        price="free of charge",
        link="",
    )


def allocation_path(base: str, now: datetime) -> str:
    """Return the path of the request, which asks for whole days in UTC."""
    begin, end = (f"{datetime.combine(day, time()).isoformat()}Z" for day in (first_day(now), now.date() + A_DAY))
    query = {"window": f"{begin},{end}", "step": "1d", "aggregate": "namespace", "includeIdle": "true"}
    return f"{base.rstrip('/')}/allocation?{urlencode(query)}"


def _answer(api: str, now: datetime) -> bytes:
    """Return the body of OpenCost's answer."""
    parts = urlsplit(api)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=ANSWER_TIMEOUT)
    try:
        connection.request("GET", allocation_path(parts.path, now))
        response = connection.getresponse()
        body = response.read(LARGEST_ANSWER + 1)
    except (OSError, HTTPException) as error:
        if is_unknown_host(str(error)):
            raise CostError(f"OpenCost at {api}: its host is unknown; check cost.api") from error
        raise Busy(f"OpenCost at {api} did not answer ({type(error).__name__}); check cost.api") from error
    finally:
        connection.close()
    if response.status >= 500 or response.status == 429:
        raise Busy(f"OpenCost at {api} answers {response.status}; read its log")
    if response.status != 200:
        raise CostError(f"OpenCost at {api} answers {response.status}; check cost.api")
    if len(body) > LARGEST_ANSWER:
        raise CostError(f"OpenCost at {api} answers with more than 64 MiB; check cost.api")
    return body


def read_allocations(body: bytes, api: str) -> Iterator[Charge]:
    """Yield the cost of each namespace on each day; CostError if the answer is not that of OpenCost."""
    try:
        for by_name in json.loads(body)["data"]:
            for name, allocation in (by_name or {}).items():
                if charge := _charge(name, allocation):
                    yield charge
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        fact = printable(f"{type(error).__name__}: {error}")
        raise CostError(f"{api} does not answer like OpenCost ({fact}); set cost.api to its API, port 9003") from None


def _charge(name: str, allocation: Mapping[str, Any]) -> Charge | None:
    """Return the cost of a namespace on a day; nothing for a day without cost."""
    amount = Decimal(str(allocation["totalCost"]))
    day = date.fromisoformat(allocation["window"]["start"][:10])
    service = f"({name.strip('_')})" if name.startswith("__") else name
    charge = Charge(day, service or "(no namespace)", ChargeKind.USE, amount)
    require_types(charge, Charge)
    return charge if amount else None
