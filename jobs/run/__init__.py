"""Runs jobs: everything that happens between the start of a run and its record, alerts and metrics."""

from jobs.run.by_hand import recorded
from jobs.run.context import unrecorded_run
from jobs.run.job import Failed, Job, Notice, Options, Outcome, Result, Run, Transient
from jobs.run.record import Record, records
from jobs.run.runner import RunTimeouts, exit_code, run_job
from jobs.run.stop import Stopped
from jobs.run.unusable_store import report_unusable_store

__all__ = [
    "Failed",
    "Job",
    "Notice",
    "Options",
    "Outcome",
    "Record",
    "Result",
    "Run",
    "RunTimeouts",
    "Stopped",
    "Transient",
    "exit_code",
    "recorded",
    "records",
    "report_unusable_store",
    "run_job",
    "unrecorded_run",
]
