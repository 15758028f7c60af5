"""Pushes the metrics of runs to a Pushgateway, for machines whose disk no node_exporter reads."""

from __future__ import annotations

import time
from datetime import timedelta

from jobs.run.latest import NO_RUNS, SubjectRuns
from jobs.run.metrics import collected, samples_of
from jobs.run.record import Record

PUSH_TIMEOUT = 3.0
PAUSE_AFTER_FAILURE = 60.0  # seconds without a further try: each one delays a run


class MetricsGateway:
    """A Pushgateway, or none if the environment file names none."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._paused_until = 0.0

    def push(self, record: Record, to_next_tick: timedelta | None = None, runs: SubjectRuns = NO_RUNS) -> None:
        """Replace the metrics of the record's subject; the last success stays until there is a later one."""
        if not self._url or time.monotonic() < self._paused_until:
            return
        from prometheus_client import pushadd_to_gateway

        group = {"environment": record.environment, "crew_job": record.job, "subject": record.subject}
        registry = collected(samples_of(record, to_next_tick, runs))
        try:
            pushadd_to_gateway(self._url, "groundcrew", registry, group, PUSH_TIMEOUT)
        except OSError:
            self._paused_until = time.monotonic() + PAUSE_AFTER_FAILURE
            raise
