"""Cost Explorer for tests: moto answers usage from queued pages; this server answers forecasts and errors."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jobs.cost.bill import Bill, Charge, ChargeKind

RECORD_TYPES = {ChargeKind.USE: "Usage", ChargeKind.FEE: "Support", ChargeKind.CREDIT: "Credit"}
USAGE, FORECAST = "GetCostAndUsage", "GetCostForecast"
PLANS, RESERVATIONS = "GetSavingsPlansUtilization", "GetReservationUtilization"
COMMITMENTS = {
    PLANS: {"Total": {"Utilization": {"TotalCommitment": "200", "UnusedCommitment": "50"}}},
    RESERVATIONS: {"Total": {"TotalAmortizedFee": "100", "RICostForUnusedHours": "1.5"}, "UtilizationsByTime": []},
}


@dataclass
class Explorer:
    """The requests it received, and its answers: pages of usage, a daily forecast, and errors to return first."""

    moto: str
    endpoint: str = ""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    daily: str | None = "10"
    errors: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)

    def queue(self, pages: Sequence[Mapping[str, Any]]) -> None:
        """Queue the pages that the next usage requests get, in this order."""
        body = json.dumps({"results": list(pages)}).encode()
        address = f"{self.moto}/moto-api/static/ce/cost-and-usage-results"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()

    @property
    def actions(self) -> list[str]:
        return [action for action, _ in self.requests]

    def forecast(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.daily is None:
            return 400, {"__type": "DataUnavailableException", "message": "Insufficient amount of historical data"}
        start, end = (date.fromisoformat(body["TimePeriod"][name]) for name in ("Start", "End"))
        days = [start + timedelta(days=number) for number in range((end - start).days)]
        by_time = [{"TimePeriod": {"Start": str(day), "End": str(day)}, "MeanValue": self.daily} for day in days]
        return 200, {"Total": {"Amount": "0", "Unit": "USD"}, "ForecastResultsByTime": by_time}


def pages_of(bill: Bill, size: int = 40) -> list[dict[str, Any]]:
    """Return a bill as pages of `size` days; days without charges are included and empty."""
    first = min((charge.day for charge in bill.charges), default=bill.today)
    days = [first + timedelta(days=number) for number in range((bill.today - first).days + 1)]
    by_day: dict[date, list[Charge]] = {day: [] for day in days}
    for charge in bill.charges:
        by_day[charge.day].append(charge)
    results = [_result(bill, day, charges) for day, charges in by_day.items()]
    pages: list[dict[str, Any]] = [{"ResultsByTime": results[at : at + size]} for at in range(0, len(results), size)]
    for number, page in enumerate(pages[:-1]):
        page["NextPageToken"] = f"page-{number + 1}"
    return pages


def _result(bill: Bill, day: date, charges: Sequence[Charge]) -> dict[str, Any]:
    return {
        "TimePeriod": {"Start": str(day), "End": str(day + timedelta(days=1))},
        "Total": {},
        "Groups": [
            {
                "Keys": [charge.service, RECORD_TYPES[charge.kind]],
                "Metrics": {"UnblendedCost": {"Amount": str(charge.amount), "Unit": bill.currency}},
            }
            for charge in charges
        ],
        "Estimated": day in bill.estimated,
    }


def page_of(groups: Mapping[str, Mapping[tuple[str, ...], str]]) -> dict[str, Any]:
    """Return a page of usage: by its first day, amounts by the keys of groups."""
    return {
        "ResultsByTime": [
            {
                "TimePeriod": {"Start": day, "End": day},
                "Groups": [
                    {"Keys": list(keys), "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": "USD"}}}
                    for keys, amount in amounts.items()
                ],
            }
            for day, amounts in groups.items()
        ]
    }


@contextmanager
def explorer(moto: str) -> Iterator[Explorer]:
    """Start a server; set AWS_ENDPOINT_URL_COST_EXPLORER to its endpoint."""
    state = Explorer(moto)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            action, body = self.headers["X-Amz-Target"].partition(".")[2], json.loads(raw)
            state.requests.append((action, body))
            if state.errors.get(action):
                status, code, message = state.errors[action].pop(0)
                self._reply(status, json.dumps({"__type": code, "message": message}).encode())
            elif action == FORECAST:
                status, answer = state.forecast(body)
                self._reply(status, json.dumps(answer).encode())
            elif action in COMMITMENTS:
                self._reply(200, json.dumps(COMMITMENTS[action]).encode())
            else:
                # Make the request unique, because moto answers a known request from its memory.
                ours = json.dumps({**body, "test": state.endpoint}).encode()
                request = urllib.request.Request(moto, ours, {**self.headers, "Content-Length": str(len(ours))})
                with urllib.request.urlopen(request) as response:
                    self._reply(200, response.read())

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
