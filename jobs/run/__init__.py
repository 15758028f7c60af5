"""How anything that happens on a clock is run, whoever started it."""

from jobs.run.job import Failed, Job, Options, Outcome, Passing, Result, Run, Tidings
from jobs.run.live import alone
from jobs.run.record import Record, latest_records, records, running
from jobs.run.runner import Patience, exit_code, run_job
from jobs.stop import Stopped

__all__ = [
    "Failed",
    "Job",
    "Options",
    "Outcome",
    "Passing",
    "Patience",
    "Record",
    "Result",
    "Run",
    "Stopped",
    "Tidings",
    "alone",
    "exit_code",
    "latest_records",
    "records",
    "run_job",
    "running",
]
