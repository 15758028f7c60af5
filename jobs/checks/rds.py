"""Check which moments the RDS instances and Aurora clusters behind the databases can be restored to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from inventories import Environment
from jobs.checks.check import Check, CheckResult, CheckVerdict, ok, warn

LATE = timedelta(minutes=30)  # RDS saves the log every five minutes
COPY_LATE = timedelta(hours=1)  # and then copies it to the other region
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

    def client(region: str) -> Any:
        session = boto3.session.Session(profile_name=profile or None)
        return session.client("rds", region_name=region, config=config)

    found = []
    try:
        if rds.cluster:
            found.append(judge_window(_cluster_window(client(rds.region), rds.name), utc_now()))
        else:
            window, copies = instance_window(client(rds.region), rds.name)
            found.append(judge_window(window, utc_now()))
            for copy in copies:
                region = copy.split(":")[3]
                found.append(judge_copy(region, copied_window(client(region), copy), utc_now()))
    except (BotoCoreError, ClientError) as error:
        calls = "rds:DescribeDBClusters" if rds.cluster else "rds:DescribeDBInstances"
        found.append(
            warn(
                f"which moments can be restored{' from the copies' if found else ''} is unknown: {error}",
                f"let the credentials of this machine call {calls} and rds:DescribeDBInstanceAutomatedBackups",
            )
        )
    return _as_one(found)


def _as_one(results: Sequence[CheckResult]) -> CheckResult:
    """Return the facts of all results, with the verdict and the remedy of the first that is not fine."""
    first = next((each for each in results if each.verdict is not CheckVerdict.OK), results[0])
    return replace(first, fact="; ".join(each.fact for each in results))


def _cluster_window(client: Any, name: str) -> RdsWindow:
    [cluster] = client.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"]
    return _window(cluster, cluster.get("EarliestRestorableTime"))


def instance_window(client: Any, name: str) -> tuple[RdsWindow, list[str]]:
    """Ask for the window of an instance, and for the ARNs of the copies of its backups in other regions."""
    [instance] = client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    backups = client.describe_db_instance_automated_backups(DBInstanceIdentifier=name)["DBInstanceAutomatedBackups"]
    copies = [
        each["DBInstanceAutomatedBackupsArn"] for each in instance.get("DBInstanceAutomatedBackupsReplications", ())
    ]
    return _window(instance, _earliest(backups)), copies


def copied_window(client: Any, copy: str) -> RdsWindow:
    """Ask the region of copied backups for their window."""
    [backups] = client.describe_db_instance_automated_backups(DBInstanceAutomatedBackupsArn=copy)[
        "DBInstanceAutomatedBackups"
    ]
    until = backups.get("RestoreWindow", {}).get("LatestTime")
    return RdsWindow(_earliest([backups]), until, int(backups.get("BackupRetentionPeriod") or 0))


def _earliest(backups: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Return the earliest moment; RDS also lists backups that it retained of a deleted instance of this name."""
    windows = [each.get("RestoreWindow", {}) for each in backups if each.get("Status") != "retained"]
    return min((window["EarliestTime"] for window in windows if "EarliestTime" in window), default=None)


def _window(answer: Mapping[str, Any], since: datetime | None) -> RdsWindow:
    return RdsWindow(since, answer.get("LatestRestorableTime"), int(answer.get("BackupRetentionPeriod") or 0))


def judge_window(window: RdsWindow, now: datetime) -> CheckResult:
    """Return the result for what RDS said."""
    if not window.days:
        return warn("automated backups are off: no moment can be restored", "set backup_retention_period in Terraform")
    if window.until is None:
        return warn("RDS has no backup yet: no moment can be restored", "wait for the first one")
    fact = _fact(window, now)
    if now - window.until > LATE:
        return warn(f"{fact}; the last moment is late", "look at the events of the instance in RDS")
    return ok(fact)


def judge_copy(region: str, window: RdsWindow, now: datetime) -> CheckResult:
    """Return the result for what RDS said about the copies of backups in another region."""
    if window.until is None:
        return warn(f"RDS has copied no backup to {region} yet", "wait for the first one; it can take hours")
    fact = f"in {region}: {_fact(window, now)}"
    if now - window.until > COPY_LATE:
        return warn(f"{fact}; the last copied moment is late", f"look at the events of RDS and at the key in {region}")
    return ok(fact)


def _fact(window: RdsWindow, now: datetime) -> str:
    from jobs.format import format_time

    since = f"from {format_time(window.since, now, UTC)} " if window.since else ""
    until = format_time(window.until, now, UTC) if window.until else "?"
    return f"each moment {since}to {until} UTC can be restored; backups are kept for {window.days} days"
