"""The environments: hosts as pyinfra inventories, and all other settings as validated, immutable objects."""

from inventories.environment import (
    Alerts,
    BackupLimits,
    Cost,
    DatabaseSettings,
    Drift,
    Environment,
    Ignore,
    Keep,
    Metrics,
    Refresh,
    ServerSettings,
    Source,
    StackSettings,
    StateSettings,
    Status,
    StoreSettings,
    Terraform,
    Verify,
)
from inventories.errors import CrewError, ExitCode
from inventories.reference import reference
from inventories.repository import Repository
from inventories.secret import BadEnvironment, NoSecret, Secret, hide, redact, redact_all
from inventories.value_types import JOBS, UNLIMITED, Cron, PlanCheck, Span, TunnelSettings

__all__ = [
    "JOBS",
    "UNLIMITED",
    "Alerts",
    "BackupLimits",
    "BadEnvironment",
    "Cost",
    "CrewError",
    "Cron",
    "DatabaseSettings",
    "Drift",
    "Environment",
    "ExitCode",
    "Ignore",
    "Keep",
    "Metrics",
    "NoSecret",
    "PlanCheck",
    "Refresh",
    "Repository",
    "Secret",
    "ServerSettings",
    "Source",
    "Span",
    "StackSettings",
    "StateSettings",
    "Status",
    "StoreSettings",
    "Terraform",
    "TunnelSettings",
    "Verify",
    "hide",
    "redact",
    "redact_all",
    "reference",
]
