"""Check which moments the RDS instances and Aurora clusters behind the databases can be restored to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from inventories import Environment
from jobs.checks.check import Check, CheckResult, ok, warn

LATE = timedelta(minutes=30)  # RDS saves the log every five minutes
_HOST = re.compile(r"([a-z][a-z0-9-]*)\.(cluster-)?[a-z0-9-]+\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True, slots=True)
class RdsName:
    """The name of an instance or cluster, from the host that a database's url names."""

    name: str
    region: str
    cluster: bool


@dataclass(frozen=True, slots=True)
class RdsWindow:
    """What RDS says about the backups of an instance or cluster."""

    since: datetime | None
    until: datetime | None
    days: int  # how long backups are kept; 0 if there are none


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check for each RDS instance and cluster behind the databases of the file."""
    urls = [each.url for each in (*environment.servers.values(), *environment.databases.values())]
    found = {rds for url in urls if (rds := rds_name(urlsplit(url).hostname or ""))}
    for rds in sorted(found, key=lambda each: (each.name, each.region)):
        yield Check(f"rds {rds.name}", partial(check_window, environment, rds))


def rds_name(host: str) -> RdsName | None:
    """Return what a host name says about RDS; None if it is not one of RDS."""
    match = _HOST.fullmatch(host.lower())
    return RdsName(match[1], match[3], bool(match[2])) if match else None


def check_window(environment: Environment, rds: RdsName) -> CheckResult:
    """Ask RDS which moments can be restored."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from jobs.run.documents import utc_now

    profile = environment.store.profile if environment.store else ""
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
    try:
        client = boto3.session.Session(profile_name=profile or None).client(
            "rds", region_name=rds.region, config=config
        )
        window = _cluster_window(client, rds.name) if rds.cluster else _instance_window(client, rds.name)
    except (BotoCoreError, ClientError) as error:
        calls = "rds:DescribeDBClusters" if rds.cluster else "rds:DescribeDBInstances"
        return warn(
            f"which moments can be restored is unknown: {error}",
            f"let the credentials of this machine call {calls} and rds:DescribeDBInstanceAutomatedBackups",
        )
    return judge_window(window, utc_now())


def _cluster_window(client: Any, name: str) -> RdsWindow:
    [cluster] = client.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"]
    return _window(cluster, cluster.get("EarliestRestorableTime"))


def _instance_window(client: Any, name: str) -> RdsWindow:
    [instance] = client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    backups = client.describe_db_instance_automated_backups(DBInstanceIdentifier=name)["DBInstanceAutomatedBackups"]
    earliest = [
        each["RestoreWindow"]["EarliestTime"] for each in backups if "EarliestTime" in each.get("RestoreWindow", {})
    ]
    return _window(instance, min(earliest, default=None))


def _window(answer: Mapping[str, Any], since: datetime | None) -> RdsWindow:
    return RdsWindow(since, answer.get("LatestRestorableTime"), int(answer.get("BackupRetentionPeriod") or 0))


def judge_window(window: RdsWindow, now: datetime) -> CheckResult:
    """Return the result for what RDS said."""
    from jobs.format import format_time

    if not window.days:
        return warn("automated backups are off: no moment can be restored", "set backup_retention_period in Terraform")
    if window.until is None:
        return warn("RDS has no backup yet: no moment can be restored", "wait for the first one")
    since = f"from {format_time(window.since, now, UTC)} " if window.since else ""
    fact = (
        f"each moment {since}to {format_time(window.until, now, UTC)} UTC can be restored; backups are kept for "
        f"{window.days} days"
    )
    if now - window.until > LATE:
        return warn(f"{fact}; the last moment is late", "look at the events of the instance in RDS")
    return ok(fact)
