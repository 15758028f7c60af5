"""What we look after: hosts as pyinfra reads them, and everything else as typed, validated, immutable objects."""

from inventories.environment import (
    Alerts,
    Cost,
    Database,
    Drift,
    Environment,
    Ignore,
    Keep,
    Limits,
    Metrics,
    Refresh,
    Server,
    Source,
    Stack,
    State,
    Status,
    Store,
    Terraform,
    Verify,
)
from inventories.kinds import JOBS, UNLIMITED, Cron, Span, Via
from inventories.reference import reference
from inventories.repository import Repository
from inventories.secret import BadEnvironment, NoSecret, Secret, hide, redact

__all__ = [
    "JOBS",
    "UNLIMITED",
    "Alerts",
    "BadEnvironment",
    "Cost",
    "Cron",
    "Database",
    "Drift",
    "Environment",
    "Ignore",
    "Keep",
    "Limits",
    "Metrics",
    "NoSecret",
    "Refresh",
    "Repository",
    "Secret",
    "Server",
    "Source",
    "Span",
    "Stack",
    "State",
    "Status",
    "Store",
    "Terraform",
    "Verify",
    "Via",
    "hide",
    "redact",
    "reference",
]
