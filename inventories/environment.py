"""What an environment file says, as immutable objects: the format is these types, and nothing beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from inventories import value_types
from inventories.reading import ListOf, NamedTables, TableOf, ValuesByName, toml_key
from inventories.secret import Secret
from inventories.value_types import JOBS, Cron, Span, TunnelSettings, or_empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What an environment is called, and how it is treated."""

    name: str = toml_key(value_types.NAME_TYPE, "what it is called: as the file, less .toml", example='"staging"')
    protected: bool = toml_key(
        value_types.YES_OR_NO,
        "by hand, what destroys or overwrites here wants --yes-to NAME",
        default=False,
        example="true",
    )
    timezone: ZoneInfo = toml_key(
        value_types.TIMEZONE, "schedules and calendar buckets are read in it", default="UTC", example='"Europe/Berlin"'
    )
    format: int = toml_key(value_types.FORMAT_TYPE, "the format of this file", default=1, example="1")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where backups, records, locks and saved state are kept, and who can read them."""

    url: str = toml_key(
        value_types.STORE_URL, "where backups, records and locks are kept", example='"s3://acme-backups/groundcrew"'
    )
    region: str = toml_key(or_empty(value_types.REGION), "its region", default="", example='"eu-central-1"')
    endpoint: str = toml_key(
        or_empty(value_types.HTTP_URL), "for S3-compatible servers", default="", example='"https://s3.acme.example"'
    )
    profile: str = toml_key(or_empty(value_types.TEXT), "AWS profile", default="", example='"groundcrew"')
    profiles: Mapping[str, str] = toml_key(
        ValuesByName("a profile by job", value_types.TEXT, JOBS),
        "AWS profiles of single jobs, so that only one of them may delete",
        default={},
        example='{ backup = "writer", retention = "pruner" }',
    )
    max_parts: int = toml_key(
        value_types.PART_LIMIT, "parts in one upload; some providers have 1000", default=10000, example="10000"
    )
    encrypt_to: tuple[str, ...] = toml_key(
        value_types.RECIPIENTS,
        "who can read what is stored: public keys as age-keygen prints them; silence is an error",
        example='"nobody"',
    )
    decrypt_with: Secret | None = toml_key(
        value_types.SECRET,
        "the age key, only where restores and verifications run",
        default=None,
        example='{ file = "/etc/groundcrew/age.key" }',
    )


_TAGS = ListOf("a list of tags", value_types.TAG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Which backups retention leaves, by restic's rules; a count of -1 is "all"."""

    last: int | None = toml_key(value_types.COUNT, "the newest ones", default=None, example="3")
    hourly: int | None = toml_key(value_types.COUNT, "the newest of each hour", default=None, example="24")
    daily: int | None = toml_key(value_types.COUNT, "the newest of each day", default=None, example="90")
    weekly: int | None = toml_key(value_types.COUNT, "the newest of each week", default=None, example="8")
    monthly: int | None = toml_key(value_types.COUNT, "the newest of each month", default=None, example="12")
    yearly: int | None = toml_key(value_types.COUNT, "the newest of each year", default=None, example='"all"')
    within: Span | None = toml_key(value_types.SPAN, "all that are younger", default=None, example='"2d"')
    within_hourly: Span | None = toml_key(
        value_types.SPAN, "of the younger ones, one an hour", default=None, example='"7d"'
    )
    within_daily: Span | None = toml_key(
        value_types.SPAN, "of the younger ones, one a day", default=None, example='"1m"'
    )
    within_weekly: Span | None = toml_key(
        value_types.SPAN, "of the younger ones, one a week", default=None, example='"6m"'
    )
    within_monthly: Span | None = toml_key(
        value_types.SPAN, "of the younger ones, one a month", default=None, example='"2y"'
    )
    within_yearly: Span | None = toml_key(
        value_types.SPAN, "of the younger ones, one a year", default=None, example='"10y"'
    )
    tags: tuple[tuple[str, ...], ...] = toml_key(
        ListOf('lists of tags, such as [["release"], ["monthly", "audit"]]', _TAGS),
        "those that have all tags of one of the lists",
        default=[],
        example='[["pre-migration"]]',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupLimits:
    """How long a backup may take."""

    run: timedelta = toml_key(value_types.DURATION, "the whole run", default="6h", example='"6h"')
    stall: timedelta = toml_key(value_types.DURATION, "a stream without a single byte", default="10m", example='"10m"')
    lock: timedelta = toml_key(
        value_types.DURATION, "waiting for a table that somebody locked", default="60s", example='"60s"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What servers and databases have in common."""

    name: str
    url: str = toml_key(
        value_types.SERVER_URL,
        "its address, without a password",
        example='"postgresql://backup@db.internal:5432/postgres"',
    )
    password: Secret | None = toml_key(
        value_types.SECRET,
        "left out: as libpq finds it, in ~/.pgpass for one",
        default=None,
        example='{ env = "MAIN_DB_PASSWORD" }',
    )
    via: TunnelSettings | None = toml_key(
        value_types.VIA, "the tunnel to one that is not in reach", default=None, example='{ ssh = "bastion.internal" }'
    )
    backup: Cron | None = toml_key(value_types.CRON, "when it is backed up", default=None, example='"0 */6 * * *"')
    verify: Cron | None = toml_key(
        value_types.CRON, "when the newest backup is verified by restoring it", default=None, example='"0 5 * * 0"'
    )
    retention: Cron | None = toml_key(
        value_types.CRON, "when old backups are removed", default=None, example='"30 6 * * *"'
    )
    parallel: int = toml_key(value_types.PARALLEL, "streams at once", default=2, example="4")
    counts: bool = toml_key(
        value_types.YES_OR_NO, "row counts in the manifest, for verification to compare", default=True, example="true"
    )
    keep: Keep = toml_key(
        TableOf(Keep),
        "which backups retention leaves, by restic's rules; without a rule it removes nothing",
        default={},
        example="{ daily = 7 }",
    )
    limits: BackupLimits = toml_key(TableOf(BackupLimits), "how long a backup may take", default={})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(Source):
    """Every database of a server, found by asking it; known as NAME.<database>."""

    exclude: tuple[str, ...] = toml_key(
        ListOf("a list of patterns", value_types.TEXT),
        "databases to leave alone; * and ? as in file names",
        default=[],
        example='["scratch*"]',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings(Source):
    """One database."""

    url: str = toml_key(
        value_types.DATABASE_URL, "its address, without a password", example='"postgresql://backup@shop.internal/shop"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """A database that is filled from another environment's newest verified backup, sanitised."""

    name: str
    source: str = toml_key(
        value_types.ORIGIN,
        "where from; a server's databases are known as server.database",
        toml="from",
        example='"production/shop"',
    )
    into: str = toml_key(
        value_types.DATABASE_URL,
        "the database that is replaced",
        example='"postgresql://owner@db.staging.internal/shop"',
    )
    password: Secret | None = toml_key(
        value_types.SECRET,
        "left out: as libpq finds it, in ~/.pgpass for one",
        default=None,
        example='{ env = "STAGING_DB_PASSWORD" }',
    )
    sanitise: Path = toml_key(
        value_types.FILE_BESIDE, "SQL that is run before anybody sees the copy", example='"sanitise/shop.sql"'
    )
    at: Cron | None = toml_key(value_types.CRON, "when", default=None, example='"0 4 * * 1"')

    @property
    def source_environment(self) -> str:
        """The environment whose backup is taken."""
        return self.source.partition("/")[0]

    @property
    def source_database(self) -> str:
        """The database whose backup is taken."""
        return self.source.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Where backups are verified: without a scratch server by this machine's server programs, else embedded ones."""

    scratch: str = toml_key(
        or_empty(value_types.SERVER_URL),
        "a server to restore into instead",
        default="",
        example='"postgresql://prover@scratch.internal/postgres"',
    )
    password: Secret | None = toml_key(
        value_types.SECRET, "of the scratch server", default=None, example='{ env = "SCRATCH_PASSWORD" }'
    )
    space: float = toml_key(
        value_types.FACTOR, "free space asked for, by the size of the database", default="2x", example='"2x"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """The S3 bucket that keeps the state of every stack, as <environment>/<stack>."""

    bucket: str = toml_key(value_types.BUCKET, "its name", example='"acme-terraform-state"')
    region: str = toml_key(or_empty(value_types.REGION), "its region", default="", example='"eu-central-1"')
    endpoint: str = toml_key(
        or_empty(value_types.HTTP_URL), "for S3-compatible servers", default="", example='"https://s3.acme.example"'
    )
    profile: str = toml_key(or_empty(value_types.TEXT), "AWS profile", default="", example='"terraform"')
    lock_table: str | None = toml_key(
        value_types.TEXT, "the DynamoDB table that locks it", default=None, example='"terraform-locks"'
    )
    lock: str | None = toml_key(
        value_types.LOCK,
        "instead of a table: a file in the bucket (Terraform and OpenTofu from 1.10)",
        default=None,
        example='"file"',
        commented=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terraform:
    """What applies the stacks."""

    program: str = toml_key(value_types.PROGRAM, "what applies the stacks", default="terraform", example='"tofu"')
    keep: tuple[str, ...] = toml_key(
        ListOf("a list of resource types", value_types.RESOURCE_TYPE),
        "never destroyed",
        default=[],
        example='["aws_db_instance", "aws_s3_bucket"]',
    )
    state: StateSettings | None = toml_key(
        TableOf(StateSettings),
        "the S3 bucket that keeps the state of each stack, as <environment>/<stack>; stacks need it",
        default=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """A folder under terraform/stacks that belongs to this environment."""

    name: str
    after: tuple[str, ...] = toml_key(
        ListOf("a list of stacks", value_types.NAME_TYPE), "stacks that come first", default=[], example='["network"]'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """A finding that stays in the report and alarms nobody."""

    resource: str = toml_key(value_types.TEXT, "its address; * and ? as in file names", example='"aws_instance.dev*"')
    attribute: str | None = toml_key(
        value_types.TEXT, "left out: all of the resource", default=None, example='"tags.LastSeen"'
    )
    why: str = toml_key(
        value_types.TEXT, "the reason, for whoever reads the report", example='"written by the inventory agent"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The watch over the stacks."""

    check: Cron | None = toml_key(
        value_types.CRON, "when the stacks are looked at", default=None, example='"0 * * * *"'
    )
    ignore: tuple[Ignore, ...] = toml_key(
        ListOf("a list of tables", TableOf(Ignore)),
        "a finding that stays in the report and alarms nobody",
        default=[],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What belongs to this environment in the bill."""

    tag: Mapping[str, str] = toml_key(
        ValuesByName("a value by tag", value_types.TEXT),
        "what is tagged so",
        default={},
        example='{ Environment = "staging" }',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The watch over the bill."""

    check: Cron | None = toml_key(value_types.CRON, "when the bill is looked at", default=None, example='"0 9 * * 1"')
    budget: float = toml_key(value_types.MONEY, "for a month", example="2500")
    currency: str = toml_key(value_types.CURRENCY, "of the bill", default="USD", example='"USD"')
    thresholds: tuple[int, ...] = toml_key(
        ListOf("a list of percentages", value_types.PERCENT),
        "per cent of the budget, each told once a month",
        default=[50, 80, 100],
        example="[50, 80, 100]",
    )
    role: str = toml_key(
        or_empty(value_types.ROLE),
        "assumed to read another account",
        default="",
        example='"arn:aws:iam::123456789012:role/billing"',
    )
    filter: Filter = toml_key(
        TableOf(Filter), "what of the bill is this environment's; left out: the whole account", default={}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The page that says how everything is."""

    at: Cron | None = toml_key(value_types.CRON, "when it is written", default=None, example='"*/30 * * * *"')
    publish: str = toml_key(
        value_types.PATH_IN_STORE, "its key in the store", default="status/index.html", example='"status/index.html"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Who hears of a failure, a finding, and their end."""

    to: tuple[Secret, ...] = toml_key(
        ListOf("a list of addresses or secrets", value_types.APPRISE),
        "who is told, by Apprise",
        default=[],
        example='[{ env = "SLACK_ALERTS_URL" }, "mailto://ops@acme.example"]',
    )
    remind: timedelta = toml_key(value_types.DURATION, "while it lasts, told again after", default="1d", example='"1d"')
    heartbeat: Mapping[str, Secret] = toml_key(
        ValuesByName("an address by job", value_types.PING, JOBS),
        "pinged by each kind of job, so that one job's beat never hides another's silence",
        default={},
        example='{ backup = { env = "HEARTBEAT_BACKUP_URL" } }',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What Prometheus is told."""

    textfile: Path | None = toml_key(
        value_types.TEXTFILE,
        "for node_exporter",
        default=None,
        example='"/var/lib/prometheus/node-exporter/groundcrew.prom"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A whole environment file."""

    file: Path = Path()
    environment: Heading = toml_key(TableOf(Heading), "what this file is for", example='name = "staging"')
    store: StoreSettings | None = toml_key(
        TableOf(StoreSettings), "the one place where backups, records, locks and saved state live", default=None
    )
    servers: Mapping[str, ServerSettings] = toml_key(
        NamedTables(TableOf(ServerSettings), ("main",)),
        "every database of a PostgreSQL server, found by asking it; known as main.<database>",
        default={},
    )
    databases: Mapping[str, DatabaseSettings] = toml_key(
        NamedTables(TableOf(DatabaseSettings), ("shop",)),
        "one PostgreSQL database",
        default={},
    )
    refresh: Mapping[str, Refresh] = toml_key(
        NamedTables(TableOf(Refresh), ("shop",)),
        "a database that is filled from another environment's newest verified backup, sanitised",
        default={},
    )
    verify: Verify = toml_key(
        TableOf(Verify),
        "where backups are verified; left out: by server programs of this machine, else embedded ones",
        default={},
    )
    terraform: Terraform = toml_key(TableOf(Terraform), "what applies the stacks, and with what care", default={})
    stacks: Mapping[str, StackSettings] = toml_key(
        NamedTables(TableOf(StackSettings), ("cluster", "network")),
        "a folder of terraform/stacks that this environment has",
        default={},
    )
    drift: Drift | None = toml_key(TableOf(Drift), "the watch over the stacks", default=None)
    cost: Cost | None = toml_key(TableOf(Cost), "the watch over the bill", default=None)
    status: Status | None = toml_key(TableOf(Status), "the page that says how everything is", default=None)
    alerts: Alerts = toml_key(TableOf(Alerts), "who hears of a failure, a finding, and their end", default={})
    metrics: Metrics = toml_key(TableOf(Metrics), "for Prometheus", default={})

    @property
    def name(self) -> str:
        """What it is called."""
        return self.environment.name

    @property
    def protected(self) -> bool:
        """Whether destroying by hand wants a yes."""
        return self.environment.protected

    @property
    def timezone(self) -> ZoneInfo:
        """The timezone of schedules and calendar buckets."""
        return self.environment.timezone

    @property
    def folder(self) -> Path:
        """The folder of its file."""
        return self.file.parent
