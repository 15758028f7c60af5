"""PostgreSQL and S3 on this machine, started for a while and taken away again: demo, scratch servers, tests."""

from jobs.embedded._postgres import PostgresServer, postgres, programs
from jobs.embedded._seaweed import S3Server, seaweed
from jobs.embedded._started import EmbeddedError, NotInstalled, NotStarted, Program, free_port, started

__all__ = [
    "EmbeddedError",
    "NotInstalled",
    "NotStarted",
    "PostgresServer",
    "Program",
    "S3Server",
    "free_port",
    "postgres",
    "programs",
    "seaweed",
    "started",
]
