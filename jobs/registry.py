"""The jobs by name. Add a line to add a job."""

from __future__ import annotations

from importlib import import_module

from jobs.run.job import Job

JOBS: dict[str, str] = {
    "backup": "jobs.backup.take.job:BACKUP",
    "verify": "jobs.pitr.job:VERIFICATIONS",
    "retention": "jobs.retention.job:RETENTION",
    "copy": "jobs.copies.job:COPY",
    "drift": "jobs.stacks.drift:DRIFT",
    "hosts": "jobs.hosts.job:HOSTS",
    "refresh": "jobs.backup.refresh:REFRESH",
    "cost": "jobs.cost.job:COST",
    "status": "jobs.status.job:STATUS",
    "digest": "jobs.status.digest:DIGEST",
}
"""Name → "module:attribute". The module is imported when the job runs."""


def find_job(name: str) -> Job:
    """Return the job of this name; KeyError if there is none."""
    module, _, attribute = JOBS[name].partition(":")
    job: Job = getattr(import_module(module), attribute)
    return job
