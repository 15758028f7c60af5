"""Temporary PostgreSQL and S3 servers on this machine, for the demo, for verifications and for tests."""

from jobs.embedded._folders import remove_folder, temporary_folder
from jobs.embedded._postgres import (
    PostgresServer,
    isolated_postgres,
    isolation_fault,
    postgres,
    programs,
    recovered_postgres,
)
from jobs.embedded._program import EmbeddedError, NotInstalled, NotStarted, RunningProgram, free_port, start_program
from jobs.embedded._sandbox import INSIDE, as_account, writing_only
from jobs.embedded._seaweed import S3Server, seaweed

__all__ = [
    "INSIDE",
    "EmbeddedError",
    "NotInstalled",
    "NotStarted",
    "PostgresServer",
    "RunningProgram",
    "S3Server",
    "as_account",
    "free_port",
    "isolated_postgres",
    "isolation_fault",
    "postgres",
    "programs",
    "recovered_postgres",
    "remove_folder",
    "seaweed",
    "start_program",
    "temporary_folder",
    "writing_only",
]
