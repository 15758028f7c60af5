"""The metrics of all subjects, computed from the store: for a scrape where no run writes a file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime

from inventories import Environment
from jobs.registry import JOBS, find_job
from jobs.run.holders import read_holders
from jobs.run.job import Failed
from jobs.run.lease import Holder
from jobs.run.metrics import Samples, samples_of
from jobs.run.record import Record, read_record, record_of_dead_run
from jobs.run.ticks import period
from jobs.store import Store

_READERS = 8


def stored_samples(environment: Environment, store: Store, now: datetime) -> Samples:
    """Return the samples of each subject that the environment file still names: the same as in the textfile."""
    holders = {
        name: holder
        for name, holder in read_holders(store, environment.name).items()
        if holder.runs.last and _is_known(environment, name)
    }
    with ThreadPoolExecutor(_READERS) as pool:
        of_each = list(pool.map(lambda pair: _samples(environment, store, pair[0], pair[1], now), holders.items()))
    return {key: value for samples in of_each for key, value in samples.items()}


def _is_known(environment: Environment, name: str) -> bool:
    job, _, subject = name.partition("/")
    return job in JOBS and find_job(job).has_subject(environment, subject)


def _samples(environment: Environment, store: Store, name: str, holder: Holder, now: datetime) -> Samples:
    job, _, subject = name.partition("/")
    line = find_job(job).schedule(environment, subject)
    to_next_tick = period(line, environment.timezone, now) if line else None
    return samples_of(_last_record(environment, store, name, holder), to_next_tick, holder.runs)


def _last_record(environment: Environment, store: Store, name: str, holder: Holder) -> Record:
    """Return the record of the newest run; if the store has none, what the lock keeps of it."""
    summary, last = record_of_dead_run(environment.name, name, holder), holder.runs.last
    if last is not None:
        summary = replace(summary, **{each.name: getattr(last, each.name) for each in fields(last)})
    with suppress(Failed):
        return read_record(store, summary.key) or summary
    return summary
