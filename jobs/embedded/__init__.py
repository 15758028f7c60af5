"""Temporary PostgreSQL and S3 servers on this machine, for the demo, for verifications and for tests."""

from jobs.embedded._folders import remove_folder, temporary_folder
from jobs.embedded._postgres import PostgresServer, isolated_postgres, isolation_fault, postgres, programs
from jobs.embedded._program import EmbeddedError, NotInstalled, NotStarted, RunningProgram, free_port, start_program
from jobs.embedded._seaweed import S3Server, seaweed

__all__ = [
    "EmbeddedError",
    "NotInstalled",
    "NotStarted",
    "PostgresServer",
    "RunningProgram",
    "S3Server",
    "free_port",
    "isolated_postgres",
    "isolation_fault",
    "postgres",
    "programs",
    "remove_folder",
    "seaweed",
    "start_program",
    "temporary_folder",
]
