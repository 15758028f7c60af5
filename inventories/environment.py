"""The sections of an environment file as immutable objects. These classes define the format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from inventories import value_types
from inventories.reading import ListOf, NamedTables, TableOf, ValuesByName, toml_key
from inventories.secret import Secret
from inventories.value_types import JOBS, Cron, PlanCheck, QuietHours, Span, TunnelSettings, or_empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The name of an environment and its general settings."""

    name: str = toml_key(
        value_types.NAME_TYPE, "name of the environment: the file name without .toml", example='"staging"'
    )
    protected: bool = toml_key(
        value_types.YES_OR_NO,
        "commands that destroy or overwrite ask first, or need --yes-to NAME",
        default=False,
        example="true",
    )
    timezone: ZoneInfo = toml_key(
        value_types.TIMEZONE,
        "timezone of schedules and of the days, weeks and months of retention",
        default="UTC",
        example='"Europe/Berlin"',
    )
    format: int = toml_key(value_types.FORMAT_TYPE, "format of this file", default=1, example="1")


_PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA9TataTBEo/1i5sMGwNWcbGIJvrGTC0iPMPYyPCxozj"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLocation:
    """Where a store is, and how to reach it."""

    url: str = toml_key(
        value_types.STORE_URL, "location of backups, run records and locks", example='"s3://acme-backups/groundcrew"'
    )
    region: str = toml_key(
        or_empty(value_types.REGION), "AWS region of the bucket", default="", example='"eu-central-1"'
    )
    endpoint: str = toml_key(
        or_empty(value_types.HTTP_URL),
        "URL of an S3-compatible server",
        default="",
        example='"https://s3.acme.example"',
    )
    profile: str = toml_key(
        or_empty(value_types.TEXT), "AWS profile for the bucket", default="", example='"groundcrew"'
    )
    profiles: Mapping[str, str] = toml_key(
        ValuesByName("an AWS profile for each job", value_types.TEXT, JOBS),
        "AWS profiles by job, so that only the retention job can delete objects",
        default={},
        example='{ backup = "writer", retention = "pruner" }',
    )
    max_parts: int = toml_key(
        value_types.PART_LIMIT,
        "maximum number of parts in one upload; some providers allow only 1000",
        default=10000,
        example="10000",
    )
    lock: timedelta | None = toml_key(
        value_types.LOCK_PERIOD,
        "S3 object lock: nobody can delete the objects of a new backup for this time; retention renews it",
        default=None,
        example='"30d"',
    )
    lock_mode: str = toml_key(
        value_types.LOCK_MODE,
        "mode of object lock; a special permission lifts governance, nothing lifts compliance",
        default="governance",
        example='"governance"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings(StoreLocation):
    """The store of backups, run records, locks and saved state, its encryption and its signatures."""

    encrypt_to: tuple[str, ...] = toml_key(
        value_types.RECIPIENTS,
        "public keys that backups are encrypted for, as age-keygen prints them",
        example='"nobody"',
    )
    decrypt_with: Secret | None = toml_key(
        value_types.SECRET,
        "age key for decryption; set it only where restores and verifications run",
        default=None,
        example='{ file = "/etc/groundcrew/age.key" }',
    )
    sign_with: Secret | Literal["nobody"] | None = toml_key(
        value_types.SIGNING_KEY,
        "SSH key that signs backups; only machines that write backups have it",
        default=None,
        example='{ file = "/etc/groundcrew/signing.key" }',
    )
    trust: tuple[str, ...] = toml_key(
        value_types.TRUSTED_KEYS,
        "public keys whose signatures are accepted; namespaces limits a key to one of the two purposes",
        default=[],
        example=f"""['namespaces="groundcrew-manifest" {_PUBLIC_KEY}']""",
    )

    @property
    def signing_key(self) -> Secret | None:
        """The key that signs backups, if the file names one."""
        return self.sign_with if isinstance(self.sign_with, Secret) else None

    @property
    def signing_disabled(self) -> bool:
        """Whether the file says that backups need no signature."""
        return self.sign_with == value_types.NOBODY


_TAGS = ListOf("a list of tags", value_types.TAG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """The retention rules, as in restic. A count of -1 means all."""

    last: int | None = toml_key(value_types.COUNT, "keep this number of the newest backups", default=None, example="3")
    hourly: int | None = toml_key(
        value_types.COUNT, "keep the newest backup of each hour, for this number of hours", default=None, example="24"
    )
    daily: int | None = toml_key(
        value_types.COUNT, "keep the newest backup of each day, for this number of days", default=None, example="90"
    )
    weekly: int | None = toml_key(
        value_types.COUNT, "keep the newest backup of each week, for this number of weeks", default=None, example="8"
    )
    monthly: int | None = toml_key(
        value_types.COUNT, "keep the newest backup of each month, for this number of months", default=None, example="12"
    )
    yearly: int | None = toml_key(
        value_types.COUNT,
        "keep the newest backup of each year, for this number of years",
        default=None,
        example='"all"',
    )
    within: Span | None = toml_key(
        value_types.SPAN, "keep all backups within this period", default=None, example='"2d"'
    )
    within_hourly: Span | None = toml_key(
        value_types.SPAN, "keep one backup per hour within this period", default=None, example='"7d"'
    )
    within_daily: Span | None = toml_key(
        value_types.SPAN, "keep one backup per day within this period", default=None, example='"1m"'
    )
    within_weekly: Span | None = toml_key(
        value_types.SPAN, "keep one backup per week within this period", default=None, example='"6m"'
    )
    within_monthly: Span | None = toml_key(
        value_types.SPAN, "keep one backup per month within this period", default=None, example='"2y"'
    )
    within_yearly: Span | None = toml_key(
        value_types.SPAN, "keep one backup per year within this period", default=None, example='"10y"'
    )
    tags: tuple[tuple[str, ...], ...] = toml_key(
        ListOf('lists of tags, such as [["release"], ["monthly", "audit"]]', _TAGS),
        "keep backups that have all tags of one of the lists",
        default=[],
        example='[["pre-migration"]]',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySettings(StoreLocation):
    """A second place for backup sets: another bucket, account, region or provider, or a directory."""

    name: str
    url: str = toml_key(value_types.STORE_URL, "location of the copies", example='"s3://acme-offsite/groundcrew"')
    profiles: Mapping[str, str] = toml_key(
        ValuesByName("an AWS profile for each job", value_types.TEXT, ("copy", "verify", "retention")),
        "AWS profiles by job; only the retention job deletes objects",
        default={},
        example='{ copy = "copier", retention = "pruner" }',
    )
    at: Cron | None = toml_key(value_types.CRON, "schedule of copying", default=None, example='"0 8 * * *"')
    databases: tuple[str, ...] = toml_key(
        ListOf("a list of patterns", value_types.TEXT),
        "databases to copy; * and ? work as in file names; without it, all",
        default=[],
        example='["shop", "main.*"]',
    )
    keep: Keep = toml_key(
        TableOf(Keep),
        "retention rules of the copies: what they do not keep is not copied; without a rule, all sets are copied",
        default={},
        example="{ daily = 30, monthly = 12 }",
    )
    verify: Cron | None = toml_key(
        value_types.CRON,
        "schedule of verifications, which restore the newest copy",
        default=None,
        example='"0 9 1 * *"',
    )
    retention: Cron | None = toml_key(
        value_types.CRON, "schedule of retention, which removes old copies", default=None, example='"30 9 * * *"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupLimits:
    """The time limits of a backup and of the checks of a verification."""

    run: timedelta = toml_key(value_types.DURATION, "time limit for the whole run", default="6h", example='"6h"')
    stall: timedelta = toml_key(
        value_types.DURATION, "time limit for a stream that transfers no data", default="10m", example='"10m"'
    )
    lock: timedelta = toml_key(
        value_types.DURATION, "time limit for waiting for a locked table", default="60s", example='"60s"'
    )
    verify_with: timedelta = toml_key(
        value_types.DURATION, "time limit for the script of verify_with", default="10m", example='"10m"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The settings that servers and databases share."""

    name: str
    url: str = toml_key(
        value_types.SERVER_URL,
        "connection URL, without a password",
        example='"postgresql://backup@db.internal:5432/postgres"',
    )
    password: Secret | None = toml_key(
        value_types.SECRET,
        "password; without it, libpq looks for one, for example in ~/.pgpass",
        default=None,
        example='{ env = "MAIN_DB_PASSWORD" }',
    )
    standby: str = toml_key(
        or_empty(value_types.SERVER_URL),
        "connection URL of a standby, from which backups are taken if it streams; else from `url`",
        default="",
        example='"postgresql://backup@db-2.internal:5432/postgres"',
    )
    via: TunnelSettings | None = toml_key(
        value_types.VIA,
        "tunnel to a server that has no direct connection",
        default=None,
        example='{ ssh = "bastion.internal" }',
    )
    backup: Cron | None = toml_key(value_types.CRON, "schedule of backups", default=None, example='"0 */6 * * *"')
    verify: Cron | None = toml_key(
        value_types.CRON,
        "schedule of verifications, which restore the newest backup",
        default=None,
        example='"0 5 * * 0"',
    )
    verify_with: Path | None = toml_key(
        value_types.FILE_BESIDE,
        "SQL script that a verification runs in the restored database; each of its statements returns no row if all is "
        "well",
        default=None,
        example='"verify/shop.sql"',
    )
    amcheck: bool = toml_key(
        value_types.YES_OR_NO,
        "check tables and indexes of the restored database with pg_amcheck, which reads all of them once more",
        default=False,
        example="true",
    )
    retention: Cron | None = toml_key(
        value_types.CRON, "schedule of retention, which removes old backups", default=None, example='"30 6 * * *"'
    )
    parallel: int = toml_key(value_types.PARALLEL, "number of parallel streams", default=2, example="4")
    compression: int = toml_key(
        value_types.COMPRESSION,
        "level of zstd; higher ones take more processor time, and do not always make backups smaller",
        default=1,
        example="3",
    )
    trust_owners: bool = toml_key(
        value_types.YES_OR_NO,
        "divide big tables of every owner among the streams; code of an owner can then run as the backup role",
        default=False,
        example="true",
    )
    counts: bool = toml_key(
        value_types.YES_OR_NO,
        "store row counts in the backup, so that verification can compare them",
        default=True,
        example="true",
    )
    shrink: float | None = toml_key(
        value_types.SHARE,
        "a backup smaller than this share of the median of the last ten, in bytes or rows, is a finding",
        default="50%",
        example='"50%"',
    )
    keep: Keep = toml_key(
        TableOf(Keep),
        "retention rules, as in restic; without a rule, nothing is removed",
        default={},
        example="{ daily = 7 }",
    )
    limits: BackupLimits = toml_key(TableOf(BackupLimits), "time limits of a backup", default={})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(Source):
    """A PostgreSQL server whose databases are all backed up, under the names NAME.<database>."""

    exclude: tuple[str, ...] = toml_key(
        ListOf("a list of patterns", value_types.TEXT),
        "databases to skip; * and ? work as in file names",
        default=[],
        example='["scratch*"]',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings(Source):
    """One PostgreSQL database."""

    url: str = toml_key(
        value_types.DATABASE_URL,
        "connection URL, without a password",
        example='"postgresql://backup@shop.internal/shop"',
    )
    standby: str = toml_key(
        or_empty(value_types.DATABASE_URL),
        "connection URL of the database on a standby, from which backups are taken if it streams; else from `url`",
        default="",
        example='"postgresql://backup@shop-2.internal/shop"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PitrLimits:
    """The limits of a verification of a stanza."""

    run: timedelta = toml_key(value_types.DURATION, "time limit for the whole run", default="6h", example='"6h"')
    verify_with: timedelta = toml_key(
        value_types.DURATION, "time limit for each script of verify_with", default="10m", example='"10m"'
    )
    behind: timedelta = toml_key(
        value_types.DURATION,
        "age of the newest WAL from which the archive counts as behind; raise it for a server that is idle for longer",
        default="1d",
        example='"1d"',
    )


PITR = "pitr"
"""The start of the subjects of stanzas: `pitr.main` for [pitr.main]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PitrSettings:
    """A stanza of pgBackRest, for point-in-time recovery: shown and verified."""

    name: str
    stanza: str = toml_key(value_types.STANZA, "name of the stanza", example='"main"')
    config: Path = toml_key(
        value_types.ABSOLUTE_PATH,
        "configuration of pgBackRest on the machine that verifies, with the repository and its secrets",
        default="/etc/pgbackrest/pgbackrest.conf",
        example='"/etc/pgbackrest/pgbackrest.conf"',
    )
    repository: int | None = toml_key(
        value_types.REPOSITORY,
        "number of the repository (default: the first one with a backup)",
        default=None,
        example="1",
    )
    verify: Cron | None = toml_key(
        value_types.CRON,
        "schedule of verifications, which restore the stanza to its latest moment",
        default=None,
        example='"0 5 * * 6"',
    )
    verify_with: Mapping[str, Path] = toml_key(
        ValuesByName("a script for each database", value_types.FILE_BESIDE),
        "SQL scripts that a verification runs, by database; each of their statements returns no row if all is well",
        default={},
        example='{ shop = "verify/shop.sql" }',
    )
    amcheck: bool = toml_key(
        value_types.YES_OR_NO,
        "check tables and indexes with pg_amcheck, where it is installed",
        default=True,
        example="true",
    )
    counts: bool = toml_key(
        value_types.YES_OR_NO, "count the rows of all tables, which reads each of them", default=True, example="true"
    )
    limits: PitrLimits = toml_key(TableOf(PitrLimits), "limits of a verification", default={})

    @property
    def subject(self) -> str:
        """The subject of its runs."""
        return f"{PITR}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """A database to fill with sanitised data from the newest verified backup set of another environment."""

    name: str
    source: str = toml_key(
        value_types.ORIGIN,
        "source database: environment/database, or environment/server.database",
        toml="from",
        example='"production/shop"',
    )
    into: str = toml_key(
        value_types.DATABASE_URL,
        "connection URL of the database to replace",
        example='"postgresql://owner@db.staging.internal/shop"',
    )
    password: Secret | None = toml_key(
        value_types.SECRET,
        "password; without it, libpq looks for one, for example in ~/.pgpass",
        default=None,
        example='{ env = "STAGING_DB_PASSWORD" }',
    )
    restore_as: str = toml_key(
        or_empty(value_types.TEXT),
        "role without superuser rights that owns everything afterwards, if `into` names a superuser (default: the "
        "owner of the database; the superuser's name: it runs the script itself)",
        default="",
        example='"shop_owner"',
    )
    restore_as_password: Secret | None = toml_key(
        value_types.SECRET,
        "password of the role of restore_as, which then logs in itself, instead of a temporary role",
        default=None,
        example='{ env = "STAGING_OWNER_PASSWORD" }',
    )
    sanitise: Path = toml_key(
        value_types.FILE_BESIDE,
        "SQL script that removes personal data before the copy replaces the database",
        example='"sanitise/shop.sql"',
    )
    unchecked: tuple[str, ...] = toml_key(
        ListOf("a list of environments", value_types.TEXT),
        "other environments that a refresh ignores if it cannot read their backups to see whether they protect `into`",
        default=[],
        example='["production"]',
    )
    at: Cron | None = toml_key(value_types.CRON, "schedule of refreshes", default=None, example='"0 4 * * 1"')

    @property
    def source_environment(self) -> str:
        """The environment whose backup is restored."""
        return self.source.partition("/")[0]

    @property
    def source_database(self) -> str:
        """The database whose backup is restored."""
        return self.source.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Where backups are verified. Default: the PostgreSQL server programs of this machine, then embedded ones."""

    scratch: str = toml_key(
        or_empty(value_types.SERVER_URL),
        "connection URL of a server to restore into",
        default="",
        example='"postgresql://verifier@scratch.internal/postgres"',
    )
    password: Secret | None = toml_key(
        value_types.SECRET, "password of the scratch server", default=None, example='{ env = "SCRATCH_PASSWORD" }'
    )
    as_superuser: bool = toml_key(
        value_types.YES_OR_NO,
        "let functions of the backup run as the superuser that `scratch` names; only if nothing else is on that server",
        default=False,
        example="true",
    )
    space: float = toml_key(
        value_types.FACTOR,
        "free space that verification requires, as a multiple of the database size",
        default="2x",
        example='"2x"',
    )
    sign_with: Secret | None = toml_key(
        value_types.SECRET,
        "SSH key that signs the results of verifications; only machines that verify have it",
        default=None,
        example='{ file = "/etc/groundcrew/verify.key" }',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """The S3 bucket of the state of all stacks. The key of a state is <environment>/<stack>."""

    bucket: str = toml_key(value_types.BUCKET, "name of the bucket", example='"acme-terraform-state"')
    region: str = toml_key(
        or_empty(value_types.REGION), "AWS region of the bucket", default="", example='"eu-central-1"'
    )
    endpoint: str = toml_key(
        or_empty(value_types.HTTP_URL),
        "URL of an S3-compatible server",
        default="",
        example='"https://s3.acme.example"',
    )
    profile: str = toml_key(or_empty(value_types.TEXT), "AWS profile for the bucket", default="", example='"terraform"')
    lock_table: str | None = toml_key(
        value_types.TEXT, "DynamoDB table for locks", default=None, example='"terraform-locks"'
    )
    lock: str | None = toml_key(
        value_types.LOCK,
        "lock file in the bucket instead of a table; needs Terraform or OpenTofu 1.10 or newer",
        default=None,
        example='"file"',
        commented=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terraform:
    """The settings of Terraform."""

    program: str = toml_key(
        value_types.PROGRAM, "program that plans and applies the stacks", default="terraform", example='"tofu"'
    )
    keep: tuple[str, ...] = toml_key(
        ListOf("a list of resource types", value_types.RESOURCE_TYPE),
        "resource types that are never destroyed",
        default=[],
        example='["aws_db_instance", "aws_s3_bucket"]',
    )
    checks: tuple[PlanCheck, ...] = toml_key(
        ListOf("a list of commands, or of tables with command and raw", value_types.PLAN_CHECK),
        'programs that check each plan before it is applied; "{plan}" is a file with the plan as JSON, '
        "its sensitive values masked unless raw = true",
        default=[],
        example='[["conftest", "test", "--policy", "policy", "{plan}"]]',
    )
    encrypt_plans_to: tuple[str, ...] | None = toml_key(
        value_types.RECIPIENTS,
        "public keys that kept plans are encrypted for; without it, those of [store]",
        default=None,
        example='"nobody"',
    )
    decrypt_plans_with: Secret | None = toml_key(
        value_types.SECRET,
        "age key that decrypts kept plans; set it only where they are applied; without it, the one of [store]",
        default=None,
        example='{ file = "/etc/groundcrew/plans.key" }',
    )
    state: StateSettings | None = toml_key(
        TableOf(StateSettings),
        "S3 bucket of the state of all stacks, required for stacks; the key of a state is <environment>/<stack>",
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """A directory under terraform/stacks that this environment uses."""

    name: str
    after: tuple[str, ...] = toml_key(
        ListOf("a list of stacks", value_types.NAME_TYPE),
        "stacks that are applied before this one",
        default=[],
        example='["network"]',
    )
    role: str = toml_key(
        or_empty(value_types.ROLE),
        "role that Terraform assumes for this stack, for its resources and its state",
        default="",
        example='"arn:aws:iam::123456789012:role/terraform"',
    )
    account: str = toml_key(
        or_empty(value_types.ACCOUNT),
        "AWS account of the stack; credentials of another account are refused",
        default="",
        example='"123456789012"',
    )
    region: str = toml_key(
        or_empty(value_types.REGION),
        "AWS region of the stack, where its code names none",
        default="",
        example='"eu-central-1"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """A rule for drift findings that stay in the report but raise no alert."""

    resource: str = toml_key(
        value_types.TEXT, "address of the resource; * and ? work as in file names", example='"aws_instance.dev*"'
    )
    attribute: str | None = toml_key(
        value_types.TEXT,
        "attribute of the resource; without it, all attributes",
        default=None,
        example='"tags.LastSeen"',
    )
    why: str = toml_key(value_types.TEXT, "reason, shown in the report", example='"written by the inventory agent"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The drift checks of the stacks."""

    check: Cron | None = toml_key(value_types.CRON, "schedule of drift checks", default=None, example='"0 * * * *"')
    ignore: tuple[Ignore, ...] = toml_key(
        ListOf("a list of tables", TableOf(Ignore)),
        "drift findings that stay in the report but raise no alert",
        default=[],
    )
    who: bool = toml_key(
        value_types.YES_OR_NO,
        "also ask CloudTrail who changed a drifted resource; needs cloudtrail:LookupEvents",
        default=False,
        example="true",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIgnore:
    """A rule for changes on hosts that stay in the report but raise no alert."""

    host: str = toml_key(
        value_types.TEXT, "name of the host in the inventory; * and ? work as in file names", example='"dev-*"'
    )
    operation: str | None = toml_key(
        value_types.TEXT,
        "operation, or the file, unit or package that it changes; without it, all operations",
        default=None,
        example='"/etc/motd"',
    )
    why: str = toml_key(value_types.TEXT, "reason, shown in the report", example='"developers write their own"')


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDrift:
    """The comparison of the hosts with their deploys."""

    check: Cron | None = toml_key(
        value_types.CRON, "schedule of comparing hosts with their deploys", default=None, example='"30 7 * * *"'
    )
    deploys: tuple[str, ...] = toml_key(
        ListOf("a list of deploys", value_types.NAME_TYPE),
        "deploys that are compared with the hosts, as named in deploys/; the hosts are only read",
        example='["host", "k3s"]',
    )
    ssh_key: Secret | None = toml_key(
        value_types.SECRET,
        "private SSH key of the job; without it, the key of the inventory, of the SSH agent or of the user",
        default=None,
        example='{ file = "/etc/groundcrew/hosts.key" }',
    )
    known_hosts: Path | None = toml_key(
        value_types.FILE_BESIDE,
        "public keys of the hosts, as in ~/.ssh/known_hosts; a host with another key is not compared",
        default=None,
        example='"known_hosts"',
    )
    ignore: tuple[HostIgnore, ...] = toml_key(
        ListOf("a list of tables", TableOf(HostIgnore)),
        "changes that stay in the report but raise no alert",
        default=[],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The part of the bill that belongs to this environment."""

    tag: Mapping[str, str] = toml_key(
        ValuesByName("a value for each tag", value_types.TEXT),
        "tags of the resources that belong to this environment",
        default={},
        example='{ Environment = "staging" }',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost checks."""

    check: Cron | None = toml_key(value_types.CRON, "schedule of cost checks", default=None, example='"0 9 * * 1"')
    source: str = toml_key(
        value_types.BILL_SOURCE,
        "the source of the bill: AWS Cost Explorer, exports in the FOCUS format, or the OpenCost of a cluster",
        toml="from",
        default="aws",
        example='"focus"',
    )
    exports: str = toml_key(
        or_empty(value_types.STORE_URL),
        "bucket or directory with FOCUS exports, as .csv, .csv.gz or .parquet",
        default="",
        example='"s3://acme-billing/focus"',
    )
    api: str = toml_key(
        or_empty(value_types.HTTP_URL), "address of OpenCost's API", default="", example='"http://opencost:9003"'
    )
    budget: float = toml_key(value_types.MONEY, "monthly budget", example="2500")
    currency: str = toml_key(value_types.CURRENCY, "currency of the bill", default="USD", example='"USD"')
    thresholds: tuple[int, ...] = toml_key(
        ListOf("a list of percentages", value_types.PERCENT),
        "percentages of the budget that raise an alert, each once a month",
        default=[50, 80, 100],
        example="[50, 80, 100]",
    )
    role: str = toml_key(
        or_empty(value_types.ROLE),
        "role to assume, to read the bill of another account",
        default="",
        example='"arn:aws:iam::123456789012:role/billing"',
    )
    filter: Filter = toml_key(
        TableOf(Filter),
        "the part of the bill that belongs to this environment; without it, the whole account",
        default={},
    )
    owner_tag: str = toml_key(
        or_empty(value_types.TEXT), "tag that names the owner of a resource", default="", example='"Owner"'
    )
    stack_tag: str = toml_key(
        or_empty(value_types.TEXT), "tag that names the stack of a resource", default="", example='"Stack"'
    )
    stacks: Mapping[str, float] = toml_key(
        ValuesByName("a budget for each value of stack_tag", value_types.MONEY),
        "monthly budgets of stacks; they use the same thresholds",
        default={},
        example="{ network = 200, cluster = 900 }",
    )
    untagged: int = toml_key(
        value_types.PERCENT_OF_ALL,
        "percentage of usage without owner_tag or stack_tag that is a finding",
        default=10,
        example="10",
    )
    commitments: int | None = toml_key(
        value_types.PERCENT_OF_ALL,
        "percentage of savings plans and reservations that must be used; less is a finding",
        default=None,
        example="90",
    )

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags by which spending is reported."""
        return tuple(dict.fromkeys(tag for tag in (self.owner_tag, self.stack_tag) if tag))


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The status page."""

    at: Cron | None = toml_key(value_types.CRON, "schedule of writing the page", default=None, example='"*/30 * * * *"')
    publish: str | None = toml_key(
        value_types.PATH_IN_STORE,
        "key of the page in the store; without it, <environment>/status/index.html",
        default=None,
        example='"status/production.html"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The records of runs."""

    keep: timedelta = toml_key(
        value_types.DURATION,
        "time that run records are kept; the newest of each job and subject always stays",
        default="400d",
        example='"400d"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Other addresses for the alerts of some jobs."""

    jobs: tuple[str, ...] = toml_key(
        ListOf("a list of jobs", value_types.JOB), "jobs whose alerts go to these addresses", example='["cost"]'
    )
    to: tuple[Secret, ...] = toml_key(
        ListOf("a list of addresses or secrets", value_types.APPRISE),
        "addresses, as Apprise URLs",
        example='[{ env = "FINANCE_ALERTS_URL" }]',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """The addresses for alerts about failures, findings and recoveries."""

    to: tuple[Secret, ...] = toml_key(
        ListOf("a list of addresses or secrets", value_types.APPRISE),
        "addresses for alerts, as Apprise URLs",
        default=[],
        example='[{ env = "SLACK_ALERTS_URL" }, "mailto://ops@acme.example"]',
    )
    remind: timedelta = toml_key(
        value_types.DURATION, "time between reminders while a problem lasts", default="1d", example='"1d"'
    )
    digest: Cron | None = toml_key(
        value_types.CRON, "schedule of a report on backups, problems and cost", default=None, example='"0 8 * * 1"'
    )
    heartbeat: Mapping[str, Secret] = toml_key(
        ValuesByName("a URL for each job", value_types.PING, JOBS),
        "URLs that the jobs ping, one for each job, so that a missing ping shows which job does not run",
        default={},
        example='{ backup = { env = "HEARTBEAT_BACKUP_URL" } }',
    )
    quiet: QuietHours | None = toml_key(
        value_types.QUIET_HOURS,
        "hours of each day in which findings wait; failures are sent at any time",
        default=None,
        example='"22:00-07:00"',
    )
    routes: tuple[Route, ...] = toml_key(
        ListOf("a list of tables", TableOf(Route)),
        "other addresses for the alerts of some jobs, in place of those in `to`",
        default=[],
    )

    def addresses_of(self, job: str) -> tuple[Secret, ...]:
        """Return the addresses for the alerts of a job: those of its routes, or else those in `to`."""
        routed = [address for route in self.routes if job in route.jobs for address in route.to]
        return tuple(dict.fromkeys(routed)) or self.to

    @property
    def all_addresses(self) -> tuple[Secret, ...]:
        """Each address that gets the alerts of any job."""
        return tuple(dict.fromkeys([*self.to, *(address for route in self.routes for address in route.to)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metrics for Prometheus."""

    textfile: Path | None = toml_key(
        value_types.TEXTFILE,
        "file for the textfile collector of node_exporter",
        default=None,
        example='"/var/lib/prometheus/node-exporter/groundcrew.prom"',
    )
    push: str = toml_key(
        or_empty(value_types.HTTP_URL),
        "address of a Pushgateway, for runs on machines whose files nothing collects",
        default="",
        example='"http://pushgateway:9091"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A whole environment file."""

    file: Path = Path()
    environment: Heading = toml_key(
        TableOf(Heading), "name of the environment and general settings", example='name = "staging"'
    )
    store: StoreSettings | None = toml_key(
        TableOf(StoreSettings), "store of backups, run records, locks and saved state", default=None
    )
    copies: Mapping[str, CopySettings] = toml_key(
        NamedTables(TableOf(CopySettings), ("offsite",)),
        "second place for backup sets: another bucket, account, region or provider, or a directory",
        default={},
    )
    servers: Mapping[str, ServerSettings] = toml_key(
        NamedTables(TableOf(ServerSettings), ("main",)),
        "PostgreSQL server whose databases are all backed up, under the names main.<database>",
        default={},
    )
    databases: Mapping[str, DatabaseSettings] = toml_key(
        NamedTables(TableOf(DatabaseSettings), ("shop",)),
        "one PostgreSQL database",
        default={},
    )
    pitr: Mapping[str, PitrSettings] = toml_key(
        NamedTables(TableOf(PitrSettings), ("main",)),
        "stanza of pgBackRest for point-in-time recovery, shown and verified",
        default={},
    )
    refresh: Mapping[str, Refresh] = toml_key(
        NamedTables(TableOf(Refresh), ("shop",)),
        "database to fill with sanitised data from the newest verified backup set of another environment",
        default={},
    )
    verify: Verify = toml_key(
        TableOf(Verify),
        "where backups are verified; default: PostgreSQL server programs of this machine, then embedded ones",
        default={},
    )
    terraform: Terraform = toml_key(TableOf(Terraform), "settings of Terraform", default={})
    stacks: Mapping[str, StackSettings] = toml_key(
        NamedTables(TableOf(StackSettings), ("cluster", "network")),
        "stack: a directory under terraform/stacks that this environment uses",
        default={},
    )
    drift: Drift | None = toml_key(TableOf(Drift), "drift checks of the stacks", default=None)
    hosts: HostDrift | None = toml_key(
        TableOf(HostDrift),
        "comparison of the hosts with their deploys, which reports what a deploy would change",
        default=None,
    )
    cost: Cost | None = toml_key(TableOf(Cost), "cost checks", default=None)
    status: Status | None = toml_key(TableOf(Status), "status page", default=None)
    runs: Runs = toml_key(TableOf(Runs), "records of runs", default={})
    alerts: Alerts = toml_key(TableOf(Alerts), "alerts about failures, findings and recoveries", default={})
    metrics: Metrics = toml_key(TableOf(Metrics), "metrics for Prometheus", default={})

    @property
    def name(self) -> str:
        """The name of the environment."""
        return self.environment.name

    @property
    def protected(self) -> bool:
        """Whether commands that destroy or overwrite data ask first."""
        return self.environment.protected

    @property
    def timezone(self) -> ZoneInfo:
        """The timezone of schedules and of retention."""
        return self.environment.timezone

    @property
    def folder(self) -> Path:
        """The directory of the environment file."""
        return self.file.parent
