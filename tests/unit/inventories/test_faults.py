"""Invalid files, each with exactly the fault lines that the reader reports."""

# ruff: noqa: E501  (each line of the table is a whole line of output)

from __future__ import annotations

from pathlib import Path

import pytest

from inventories import BadEnvironment, Repository
from tests.unit.inventories.conftest import Reading

HEAD = '[environment]\nname = "staging"\n'
STORE = '[store]\nurl = "file:///var/lib/groundcrew"\nencrypt_to = "nobody"\n'
SHOP = '[databases.shop]\nurl = "postgresql:///shop"\n'
TRUSTED = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"
WHOLE = HEAD + STORE + SHOP
STATE = '[terraform]\nstate = { bucket = "acme-state", lock = "file" }\n'

BROKEN = {
    "empty": (
        "",
        [
            'environment: is missing; add [environment] with name = "staging"',
        ],
    ),
    "an environment section that is not a table": (
        'environment = "staging"\n',
        [
            "environment: this is not a table; write it as [environment], with its keys below",
        ],
    ),
    "a syntax error": (
        "name = = 1\n",
        [
            "line 1, column 8: invalid TOML (invalid value); correct this first; the rest of the file was not checked",
        ],
    ),
    "a string without an end": (
        HEAD + 'timezone = "UTC\n',
        [
            "line 3, column 16: invalid TOML (illegal character '\\n'); correct this first; the rest of the file was not checked",
        ],
    ),
    "a key twice": (
        HEAD + 'name = "staging"\n',
        [
            "line 3, column 17: invalid TOML (cannot overwrite a value); define each key and table only once; correct this first; the rest of the file was not checked",
        ],
    ),
    "a table twice": (
        WHOLE + SHOP,
        [
            "line 8, column 16: invalid TOML (cannot declare ('databases', 'shop') twice); define each key and table only once; correct this first; the rest of the file was not checked",
        ],
    ),
    "a stanza": (
        WHOLE + '[pitr.main]\nstanza = "--repo=2"\nconfig = "pgbackrest.conf"\nrepository = 0\n',
        [
            'pitr.main.stanza: "--repo=2" is not a stanza; use letters, digits, - and _, at most 63, the first a letter or a digit',
            'pitr.main.config: "pgbackrest.conf" is not an absolute path; begin it with /',
            "pitr.main.repository: 0 is not a repository of pgBackRest; use a whole number from 1 to 256",
        ],
    ),
    "an unknown section": (
        WHOLE + "[backups]\n",
        [
            "backups: unknown key; use one of: environment, store, copies, servers, databases, pitr, refresh, verify, terraform, stacks, drift, hosts, cost, status, runs, alerts, metrics",
        ],
    ),
    "an unknown key": (
        WHOLE + 'bakcup = "0 2 * * *"\n',
        [
            "databases.shop.bakcup: unknown key; did you mean backup?",
        ],
    ),
    "an unknown key without a similar key": (
        HEAD + "xyzzy = 1\n",
        [
            "environment.xyzzy: unknown key; use one of: name, protected, timezone, format",
        ],
    ),
    "a key that breaks lines": (
        HEAD + '"a\\nb" = 1\n',
        [
            'environment."a\\nb": unknown key; use one of: name, protected, timezone, format',
        ],
    ),
    "an invalid name": (
        '[environment]\nname = "../x"\n',
        [
            'environment.name: "../x" is not a name; use letters, digits, - and _, at most 63, the first a letter or a digit',
        ],
    ),
    "protected in quotes": (
        HEAD + 'protected = "yes"\n',
        [
            'environment.protected: "yes" is not a boolean; use true or false, without quotes',
        ],
    ),
    "no such timezone": (
        HEAD + 'timezone = "Europe/Berln"\n',
        [
            'environment.timezone: "Europe/Berln" is not a timezone; did you mean Europe/Berlin?',
        ],
    ),
    "a timezone without a similar name": (
        HEAD + 'timezone = "../../etc/passwd"\n',
        [
            'environment.timezone: "../../etc/passwd" is not a timezone; use a name such as "Europe/Berlin" or "UTC"',
        ],
    ),
    "a newer format": (
        HEAD + "format = 2\nsomething_new = true\n",
        [
            "environment.format: 2 is newer than this groundcrew reads (1); upgrade groundcrew",
        ],
    ),
    "an invalid format": (
        HEAD + 'format = "1"\n',
        [
            'environment.format: "1" is not a format; use 1',
        ],
    ),
    "object lock in a directory": (
        HEAD + STORE + 'lock = "30d"\nlock_mode = "forever"\n' + SHOP,
        [
            'store.lock_mode: "forever" is not a mode of object lock; use "governance" or "compliance"',
            "store.lock: object lock needs S3, a directory cannot refuse to delete files; remove `lock`",
        ],
    ),
    "object lock in a directory of copies": (
        WHOLE + '[copies.offsite]\nurl = "file:///mnt/copies"\nlock = "30d"\n',
        [
            "copies.offsite.lock: object lock needs S3, a directory cannot refuse to delete files; remove `lock`",
        ],
    ),
    "an object lock of some minutes": (
        HEAD + STORE + 'lock = "5m"\n' + SHOP,
        [
            'store.lock: "5m" is not the period of a lock; use one day to 100 years, such as "30d"',
        ],
    ),
    "a mode of object lock without a lock": (
        HEAD + STORE + 'lock_mode = "compliance"\n' + SHOP,
        [
            'store.lock_mode: has no effect without lock; add lock = "30d"',
        ],
    ),
    "no url of the store": (
        HEAD + '[store]\nencrypt_to = "nobody"\n',
        [
            'store.url: is missing; add url: s3://bucket/prefix or file:///directory, such as "s3://acme-backups/groundcrew"',
        ],
    ),
    "no key about encryption": (
        HEAD + '[store]\nurl = "s3://bucket"\n',
        [
            'store.encrypt_to: is missing; add encrypt_to: ["age1…", …], or "nobody" to disable encryption',
        ],
    ),
    "encryption for an empty list of recipients": (
        HEAD + '[store]\nurl = "s3://bucket"\nencrypt_to = []\n',
        [
            'store.encrypt_to: this has no recipients; use ["age1…", …], or "nobody" to disable encryption',
        ],
    ),
    "a mistyped recipient": (
        HEAD + '[store]\nurl = "s3://bucket"\nencrypt_to = ["age1abc", 3]\n',
        [
            'store.encrypt_to.1: "age1abc" is not an age recipient; use a public key: "age1…" as age-keygen prints it, or "ssh-ed25519 …"',
            'store.encrypt_to.2: 3 is not an age recipient; use a public key: "age1…" as age-keygen prints it, or "ssh-ed25519 …"',
        ],
    ),
    "a secret key as recipient": (
        HEAD + '[store]\nurl = "s3://bucket"\nencrypt_to = ["AGE-SECRET-KEY-1QQQ"]\n',
        [
            'store.encrypt_to.1: this is a secret key, which must not be in this file; use a public key: "age1…" as age-keygen prints it, or "ssh-ed25519 …"',
        ],
    ),
    "no signing key": (
        HEAD + STORE + "sign_with = []\n",
        [
            'store.sign_with: secrets must not be in this file; use { env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }',
        ],
    ),
    "a signing key in the file": (
        HEAD + STORE + 'sign_with = "-----BEGIN OPENSSH PRIVATE ' + 'KEY-----"\n',
        [
            'store.sign_with: secrets must not be in this file; use { env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }',
        ],
    ),
    "trusted keys that are not a list": (
        HEAD + STORE + 'trust = "nobody"\n',
        [
            'store.trust: this is not a list of public keys; use ["ssh-ed25519 AAAA… comment", …]',
        ],
    ),
    "invalid trusted keys": (
        HEAD
        + STORE
        + f'trust = ["{TRUSTED}", "{TRUSTED[:-8]}", "ssh-rsa AAAAB3NzaC1yc2E", "b3BlbnNzaC1rZXktdjEAAAA", 3, "{TRUSTED} again", "age1abc", "restrict {TRUSTED}", "ssh-ed25519", "namespaces=groundcrew-manifest {TRUSTED}"]\n',
        [
            'store.trust.2: this is not a public key; use the line of its .pub file, "ssh-ed25519 AAAA… comment"',
            "store.trust.3: this is a key of type ssh-rsa; only ssh-ed25519 keys sign backups: ssh-keygen -t ed25519 makes one",
            'store.trust.4: this is a secret key, which must not be in this file; use the line of its .pub file, "ssh-ed25519 AAAA… comment"',
            'store.trust.5: this is not a public key; use the line of its .pub file, "ssh-ed25519 AAAA… comment"',
            "store.trust.6: this is the same key as number 1; remove one of them",
            'store.trust.7: this is not a public key; use the line of its .pub file, "ssh-ed25519 AAAA… comment"',
            'store.trust.8: this is not a public key; use the line of its .pub file, "ssh-ed25519 AAAA… comment"',
            'store.trust.9: this is not a public key; use the line of its .pub file, "ssh-ed25519 AAAA… comment"',
            'store.trust.10: namespaces is not a list of purposes; use namespaces="groundcrew-manifest" or namespaces="groundcrew-verification"',
        ],
    ),
    "a store of another type": (
        HEAD + '[store]\nurl = "gs://bucket"\nencrypt_to = "nobody"\n',
        [
            'store.url: "gs://bucket" is not a store URL; use "s3://bucket/prefix" or "file:///directory"',
        ],
    ),
    "a store URL with ..": (
        HEAD + '[store]\nurl = "s3://bucket/a/../b"\nencrypt_to = "nobody"\n',
        [
            'store.url: "s3://bucket/a/../b" has an empty segment, "." or ".."; use "s3://bucket/prefix" or "file:///directory"',
        ],
    ),
    "an endpoint without http": (
        HEAD + STORE + 'endpoint = "localhost:8333"\n[databases.shop]\nurl = "postgresql:///shop"\n',
        [
            'store.endpoint: "localhost:8333" is not an HTTP URL; use "https://host" or "http://host:port"',
        ],
    ),
    "a profile for an unknown job": (
        HEAD + STORE + 'profiles = { backups = "writer" }\n[databases.shop]\nurl = "postgresql:///shop"\n',
        [
            "store.profiles.backups: unknown job; did you mean backup?",
        ],
    ),
    "too few parts": (
        HEAD + STORE + 'max_parts = 1\n[databases.shop]\nurl = "postgresql:///shop"\n',
        [
            "store.max_parts: 1 is not a number of parts; use a whole number from 10 to 10000",
        ],
    ),
    "a literal password": (
        WHOLE + 'password = "hunter2hunter2"\n',
        [
            'databases.shop.password: secrets must not be in this file; use { env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }',
        ],
    ),
    "a secret with two sources": (
        WHOLE + 'password = { env = "A", file = "b" }\n',
        [
            'databases.shop.password: this is not a reference to a secret; use { env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }',
        ],
    ),
    "a secret in an invalid variable name": (
        WHOLE + 'password = { env = "SHOP PASSWORD" }\n',
        [
            'databases.shop.password: env is not a variable name; use letters, digits and _, such as { env = "SHOP_PASSWORD" }',
        ],
    ),
    "a secret in an empty path": (
        WHOLE + 'password = { file = "" }\n',
        [
            'databases.shop.password: file is not a path; use one such as { file = "/etc/groundcrew/shop.password" }',
        ],
    ),
    "a secret from an empty command": (
        WHOLE + "password = { command = [] }\n",
        [
            'databases.shop.password: command is not a list of words; use one such as { command = ["pass", "show", "shop"] }',
        ],
    ),
    "a secret from a command with an open quote": (
        WHOLE + 'password = { command = "pass \'show" }\n',
        [
            'databases.shop.password: command is not a list of words; use one such as { command = ["pass", "show", "shop"] }',
        ],
    ),
    "a password in the address": (
        HEAD + STORE + '[databases.shop]\nurl = "postgresql://u:hunter2@db/shop"\n',
        [
            'databases.shop.url: contains a password; remove it, and add password = { env = "…" }, { file = "…" } or { command = "…" }',
        ],
    ),
    "a password among the parameters": (
        HEAD + STORE + '[databases.shop]\nurl = "postgresql://db/shop?password=hunter2"\n',
        [
            'databases.shop.url: contains a password; remove it, and add password = { env = "…" }, { file = "…" } or { command = "…" }',
        ],
    ),
    "a password in another address": (
        HEAD + STORE + '[databases.shop]\nurl = "mysql://u:hunter2@db/shop"\n',
        [
            'databases.shop.url: contains a password; remove it, and add password = { env = "…" }, { file = "…" } or { command = "…" }',
        ],
    ),
    "an address of another server": (
        HEAD + STORE + '[databases.shop]\nurl = "mysql://db/shop"\n',
        [
            'databases.shop.url: "mysql://db/shop" is not a PostgreSQL URL; use "postgresql://user@host:5432/database", "postgresql:///database?host=/run/postgresql" or "postgresql:///?service=name"',
        ],
    ),
    "an address without a database": (
        HEAD + STORE + '[databases.shop]\nurl = "postgresql://backup@db:5432"\n',
        [
            'databases.shop.url: "postgresql://backup@db:5432" has no database name; add it after the host, as in postgresql://host/database',
        ],
    ),
    "a port that is too large": (
        HEAD + STORE + '[databases.shop]\nurl = "postgresql://db:70000/shop"\n',
        [
            'databases.shop.url: "postgresql://db:70000/shop" is not a PostgreSQL URL (the port must be from 1 to 65535); use "postgresql://user@host:5432/database", "postgresql:///database?host=/run/postgresql" or "postgresql:///?service=name"',
        ],
    ),
    "a percent sign alone": (
        HEAD + STORE + '[databases.shop]\nurl = "postgresql://db/50%"\n',
        [
            'databases.shop.url: "postgresql://db/50%" is not a PostgreSQL URL (two hexadecimal digits other than 00 must follow %); use "postgresql://user@host:5432/database", "postgresql:///database?host=/run/postgresql" or "postgresql:///?service=name"',
        ],
    ),
    "a parameter without =": (
        HEAD + STORE + '[databases.shop]\nurl = "postgresql://db/shop?sslmode"\n',
        [
            'databases.shop.url: "postgresql://db/shop?sslmode" is not a PostgreSQL URL (a parameter has no =); use "postgresql://user@host:5432/database", "postgresql:///database?host=/run/postgresql" or "postgresql:///?service=name"',
        ],
    ),
    "no connection URL": (
        HEAD + STORE + "[databases.shop]\n",
        [
            'databases.shop.url: is missing; add url: postgresql://user@host:5432/database, such as "postgresql://backup@shop.internal/shop"',
        ],
    ),
    "a database that is not a table": (
        HEAD + STORE + '[databases]\nshop = "postgresql:///shop"\n',
        [
            "databases.shop: this is not a table; write it as [databases.shop], with its keys below",
        ],
    ),
    "databases that are not tables": (
        'databases = 3\n[environment]\nname = "staging"\n',
        [
            "databases: this is not a table; write it as [databases], with its keys below",
        ],
    ),
    "a name with a slash": (
        WHOLE + '[databases."a/b"]\nurl = "postgresql:///x"\n',
        [
            'databases."a/b": "a/b" is not a name; use letters, digits, - and _, at most 63, the first a letter or a digit',
        ],
    ),
    "a pattern that is not text": (
        WHOLE + '[servers.main]\nurl = "postgresql://db"\nexclude = [3, ""]\n',
        [
            'servers.main.exclude.1: 3 is not text; write it in quotes, as "3"',
            'servers.main.exclude.2: "" is empty; write some text, or remove the key',
        ],
    ),
    "an SSH host that looks like an option": (
        WHOLE + 'via = { ssh = "-oProxyCommand=x" }\n',
        [
            'databases.shop.via: "-oProxyCommand=x" is not an SSH host; use "host", "user@host" or "user@host:port"',
        ],
    ),
    "two tunnels": (
        WHOLE + 'via = { ssh = "a", kubernetes = "b" }\n',
        [
            'databases.shop.via: this is not a tunnel; use { ssh = "user@host:port" } or { kubernetes = "namespace/kind/name", context = "name" }',
        ],
    ),
    "a Kubernetes target without a namespace": (
        WHOLE + 'via = { kubernetes = "postgres" }\n',
        [
            'databases.shop.via: "postgres" is not a target of kubectl port-forward; use "namespace/kind/name", where kind is pod, service, statefulset or deployment',
        ],
    ),
    "a context that looks like an option": (
        WHOLE + 'via = { kubernetes = "a/pod/b", context = "--token" }\n',
        [
            'databases.shop.via: "--token" is not a kubectl context; use a name from: kubectl config get-contexts',
        ],
    ),
    "an hour that is too large": (
        WHOLE + 'backup = "0 25 * * *"\n',
        [
            'databases.shop.backup: "0 25 * * *" is not a cron line (bad hour); use five fields, minute hour day month weekday, such as "0 2 * * *"',
        ],
    ),
    "six fields": (
        WHOLE + 'backup = "0 0 2 * * *"\n',
        [
            'databases.shop.backup: "0 0 2 * * *" is not a cron line (fields: 6); use five fields, minute hour day month weekday, such as "0 2 * * *"',
        ],
    ),
    "a nickname of cron": (
        WHOLE + 'backup = "@daily"\n',
        [
            'databases.shop.backup: "@daily" is not a cron line (fields: 1); use five fields, minute hour day month weekday, such as "0 2 * * *"',
        ],
    ),
    "a day that never comes": (
        WHOLE + 'backup = "0 2 31 2 *"\n',
        [
            'databases.shop.backup: "0 2 31 2 *" is not a cron line (bad day-of-month); use five fields, minute hour day month weekday, such as "0 2 * * *"',
        ],
    ),
    "a number for a cron line": (
        WHOLE + "backup = 2\n",
        [
            'databases.shop.backup: 2 is not a cron line; use five fields, minute hour day month weekday, such as "0 2 * * *"',
        ],
    ),
    "a negative count": (
        WHOLE + "keep = { daily = -3 }\n",
        [
            "databases.shop.keep.daily: -3 is not a count; use a whole number from 1, or remove the key",
        ],
    ),
    "counts of other kinds": (
        WHOLE + 'keep = { daily = 0, weekly = true, monthly = 1.5, yearly = "some" }\n',
        [
            "databases.shop.keep.daily: 0 is not a count; use a whole number from 1, or remove the key",
            "databases.shop.keep.weekly: true is not a count; use a whole number from 1, or remove the key",
            "databases.shop.keep.monthly: 1.5 is not a count; use a whole number from 1, or remove the key",
            'databases.shop.keep.yearly: "some" is not a count; use a whole number from 1, or remove the key',
        ],
    ),
    "a span in the wrong order": (
        WHOLE + 'keep = { within = "3d2y", within_daily = 7, within_weekly = "" }\n',
        [
            'databases.shop.keep.within: "3d2y" is not a calendar period; use years, months, days and hours in this order, such as "2y5m7d3h" or "90d"',
            'databases.shop.keep.within_daily: 7 is not a calendar period; use years, months, days and hours in this order, such as "2y5m7d3h" or "90d"',
            'databases.shop.keep.within_weekly: "" is not a calendar period; use years, months, days and hours in this order, such as "2y5m7d3h" or "90d"',
        ],
    ),
    "an unknown rule": (
        WHOLE + "keep = { minutely = 3, dayly = 3 }\n",
        [
            "databases.shop.keep.minutely: unknown key; use one of: last, hourly, daily, weekly, monthly, yearly, within, within_hourly, within_daily, within_weekly, within_monthly, within_yearly, tags",
            "databases.shop.keep.dayly: unknown key; did you mean daily?",
        ],
    ),
    "tags in one list only": (
        WHOLE + 'keep = { tags = ["release"] }\n',
        [
            "databases.shop.keep.tags.1: this is not a list; use a list of tags",
        ],
    ),
    "a tag with a slash": (
        WHOLE + 'keep = { tags = [["a/b"]] }\n',
        [
            'databases.shop.keep.tags.1.1: "a/b" is not a tag; use letters, digits, ., - and _, at most 63',
        ],
    ),
    "a keep that is not a table": (
        WHOLE + "keep = 7\n",
        [
            "databases.shop.keep: this is not a table; write it as [databases.shop.keep], with its keys below",
        ],
    ),
    "invalid durations": (
        WHOLE + 'limits = { run = 6, stall = "0m", lock = "1 hour" }\n',
        [
            'databases.shop.limits.run: 6 is not a duration; use a number and a unit of s, m, h, d or w, such as "60s", "10m", "6h" or "1h30m"',
            'databases.shop.limits.stall: "0m" is a duration of zero; use a number and a unit of s, m, h, d or w, such as "60s", "10m", "6h" or "1h30m"',
            'databases.shop.limits.lock: "1 hour" is not a duration; use a number and a unit of s, m, h, d or w, such as "60s", "10m", "6h" or "1h30m"',
        ],
    ),
    "no streams": (
        WHOLE + "parallel = 0\n",
        [
            "databases.shop.parallel: 0 is not a number of streams; use a whole number from 1 to 64",
        ],
    ),
    "no compression": (
        WHOLE + "compression = 20\n",
        [
            "databases.shop.compression: 20 is not a compression level; use a whole number from 1 to 19",
        ],
    ),
    "counts in quotes": (
        WHOLE + 'counts = "true"\n',
        [
            'databases.shop.counts: "true" is not a boolean; use true or false, without quotes',
        ],
    ),
    "a refresh from an environment without a database": (
        WHOLE + '[refresh.shop]\nfrom = "production"\ninto = "postgresql:///shop"\nsanitise = "sanitise/shop.sql"\n',
        [
            'refresh.shop.from: "production" is not a source database; use "environment/database", such as "production/shop"',
        ],
    ),
    "a refresh without a script": (
        WHOLE + '[refresh.shop]\nfrom = "production/shop"\ninto = "postgresql:///shop"\n',
        [
            'refresh.shop.sanitise: is missing; add sanitise: a path relative to this file, such as "sanitise/shop.sql"',
        ],
    ),
    "space without x": (
        WHOLE + "[verify]\nspace = 2\n",
        [
            'verify.space: 2 is not a factor; use 1 or more with an x, such as "2x" or "1.5x"',
        ],
    ),
    "a space factor below 1": (
        WHOLE + '[verify]\nspace = "0.5x"\n',
        [
            'verify.space: "0.5x" is not a factor; use 1 or more with an x, such as "2x" or "1.5x"',
        ],
    ),
    "an unsupported program": (
        WHOLE + '[terraform]\nprogram = "terragrunt"\n',
        [
            'terraform.program: "terragrunt" is not a supported program; use "terraform", "tofu", or an absolute path',
        ],
    ),
    "a state with an unknown lock": (
        WHOLE + '[terraform]\nstate = { bucket = "acme-state", lock = "dynamodb", lock_table = "l" }\n',
        [
            'terraform.state.lock: "dynamodb" is not a lock type; use lock = "file", or lock_table = "name of a DynamoDB table"',
        ],
    ),
    "an invalid bucket name": (
        WHOLE + '[terraform]\nstate = { bucket = "A", lock = "file" }\n',
        [
            'terraform.state.bucket: "A" is not a bucket; use 3 to 63 of a-z, 0-9, - and .',
        ],
    ),
    "an ignore rule without a reason": (
        WHOLE + '[drift]\nignore = [{ resource = "aws_instance.x" }]\n',
        [
            'drift.ignore.1.why: is missing; add why: text, such as "written by the inventory agent"',
        ],
    ),
    "an ignore rule that is text": (
        WHOLE + '[drift]\nignore = ["aws_instance.x"]\n',
        [
            "drift.ignore.1: this is not a table; write it in braces, as { key = value }",
        ],
    ),
    "a budget in words": (
        WHOLE + '[cost]\nbudget = "a lot"\n',
        [
            'cost.budget: "a lot" is not an amount; use a number above 0, such as 300 or 2500.50',
        ],
    ),
    "a budget of 0": (
        WHOLE + "[cost]\nbudget = 0\n",
        [
            "cost.budget: 0 is not an amount; use a number above 0, such as 300 or 2500.50",
        ],
    ),
    "an infinite budget": (
        WHOLE + "[cost]\nbudget = inf\n",
        [
            "cost.budget: inf is not an amount; use a number above 0, such as 300 or 2500.50",
        ],
    ),
    "a cost without a budget": (
        WHOLE + '[cost]\ncheck = "0 9 * * 1"\n',
        [
            "cost.budget: is missing; add budget: a number above 0, such as 2500",
        ],
    ),
    "a currency by its sign": (
        WHOLE + '[cost]\nbudget = 1\ncurrency = "$"\n',
        [
            'cost.currency: "$" is not a currency; use three capitals, such as "USD"',
        ],
    ),
    "invalid thresholds": (
        WHOLE + '[cost]\nbudget = 1\nthresholds = [0, "50%"]\n',
        [
            "cost.thresholds.1: 0 is not a percentage; use a whole number from 1 to 1000",
            'cost.thresholds.2: "50%" is not a percentage; use a whole number from 1 to 1000',
        ],
    ),
    "more than all usage": (
        WHOLE + "[cost]\nbudget = 1\nuntagged = 101\ncommitments = 900\n",
        [
            "cost.untagged: 101 is not a percentage; use a whole number from 1 to 100",
            "cost.commitments: 900 is not a percentage; use a whole number from 1 to 100",
        ],
    ),
    "a filter with an unknown key": (
        WHOLE + '[cost]\nbudget = 1\nfilter = { tag = { Environment = 3 }, account = "1" }\n',
        [
            "cost.filter.account: unknown key; use one of: tag",
            'cost.filter.tag.Environment: 3 is not text; write it in quotes, as "3"',
        ],
    ),
    "a role by its name": (
        WHOLE + '[cost]\nbudget = 1\nrole = "billing"\n',
        [
            'cost.role: "billing" is not a role; use its ARN, "arn:aws:iam::123456789012:role/name"',
        ],
    ),
    "a page outside the store": (
        WHOLE + '[status]\npublish = "../index.html"\n',
        [
            'status.publish: "../index.html" is not a key in the store; use a path such as "status/index.html"',
        ],
    ),
    "an invalid address": (
        WHOLE + '[alerts]\nto = ["slack"]\n',
        [
            'alerts.to.1: this is not an address; use an Apprise address such as "mailto://ops@acme.example", or a reference to one: { env = "NAME" }',
        ],
    ),
    "an address with a password": (
        WHOLE + '[alerts]\nto = ["mailto://me:hunter2@acme.example"]\n',
        [
            'alerts.to.1: this address contains a password; move the whole address to a secret: { env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }',
        ],
    ),
    "an address outside a list": (
        WHOLE + '[alerts]\nto = "mailto://ops@acme.example"\n',
        [
            "alerts.to: this is not a list; use a list of addresses or secrets",
        ],
    ),
    "quiet hours that are no hours": (
        WHOLE + '[alerts]\nquiet = "22-7"\n',
        ['alerts.quiet: "22-7" is not a pair of times; use two, such as "22:00-07:00"'],
    ),
    "quiet hours of the whole day": (
        WHOLE + '[alerts]\nquiet = "07:00-07:00"\n',
        ['alerts.quiet: "07:00-07:00" is the whole day; name two different times'],
    ),
    "a route for an unknown job": (
        WHOLE + '[[alerts.routes]]\njobs = ["bills"]\nto = ["mailto://ops@acme.example"]\n',
        [
            'alerts.routes.1.jobs.1: "bills" is not a job; use one of: backup, verify, retention, copy, drift, hosts, cost, refresh, status, digest'
        ],
    ),
    "a heartbeat for an unknown job": (
        WHOLE + '[alerts.heartbeat]\nbackups = "https://hc.example/1"\n',
        [
            "alerts.heartbeat.backups: unknown job; did you mean backup?",
        ],
    ),
    "a heartbeat that is not an HTTP URL": (
        WHOLE + '[alerts.heartbeat]\nbackup = "mailto://x"\n',
        [
            'alerts.heartbeat.backup: this is not an address; use "https://host/path", or a reference to it: { env = "NAME" }',
        ],
    ),
    "a textfile with another extension": (
        WHOLE + '[metrics]\ntextfile = "/var/lib/groundcrew.txt"\n',
        [
            'metrics.textfile: "/var/lib/groundcrew.txt" is not a metrics textfile; use an absolute path that ends in .prom',
        ],
    ),
    "a whole number too long": (
        HEAD + "protected = " + "1" * 5000,
        [
            "is nested too deeply, or has a number that is too long; simplify it",
        ],
    ),
    "nested too deeply": (
        "a = " + "[" * 3000 + "]" * 3000,
        [
            "is nested too deeply, or has a number that is too long; simplify it",
        ],
    ),
    "many at once": (
        '[environment]\nname = "prod"\ntimezone = "Nowhere"\n[databases.shop]\nurl = "postgresql:///shop"\nkeep = { daily = -3 }\n[stacks.a]\nafter = ["b"]\n[refresh.x]\n',
        [
            'environment.timezone: "Nowhere" is not a timezone; use a name such as "Europe/Berlin" or "UTC"',
            "databases.shop.keep.daily: -3 is not a count; use a whole number from 1, or remove the key",
            'refresh.x.from: is missing; add from: environment/database, such as "production/shop"',
            'refresh.x.into: is missing; add into: postgresql://user@host:5432/database, such as "postgresql://owner@db.staging.internal/shop"',
            'refresh.x.sanitise: is missing; add sanitise: a path relative to this file, such as "sanitise/shop.sql"',
            'environment.name: "prod" does not match the file name; use name = "staging", or rename the file',
            'store: is missing, but [databases] needs it; add [store] with url = "s3://bucket/prefix" or "file:///directory"',
            'stacks.a.after: stack "b" is not in this file; this file has no other stack',
            "stacks.a: directory terraform/stacks/a does not exist; use one of: cluster, network",
            'terraform.state: is missing, but stacks need it; add state = { bucket = "…", region = "…", lock = "file" } to [terraform]',
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_reported_in_one_line(name: str, read: Reading) -> None:
    text, lines = BROKEN[name]
    with pytest.raises(BadEnvironment) as caught:
        read(text)
    assert list(caught.value.lines) == [f"inventories/staging.toml: {line}" for line in lines]


@pytest.mark.parametrize("name", BROKEN)
def test_no_fault_line_contains_a_password(name: str, read: Reading) -> None:
    with pytest.raises(BadEnvironment) as caught:
        read(BROKEN[name][0])
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_utf_8_is_a_fault(root: Path) -> None:
    (root / "inventories" / "staging.toml").write_bytes(b'[environment]\nname = "st\xe4ging"\n')
    with pytest.raises(BadEnvironment, match=r"staging.toml: is not UTF-8 \(byte 25\); save it as UTF-8"):
        Repository.find(root).read("staging")


def test_an_unreadable_file_is_a_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "inventories" / "staging.toml").touch()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    repository = Repository.find(root)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        BadEnvironment, match=r"staging.toml: cannot be read \(Permission denied\); check its permissions"
    ):
        repository.read("staging")


def test_a_missing_hosts_file_is_reported_with_the_other_faults(root: Path, read: Reading) -> None:
    (root / "inventories" / "staging").unlink()
    with pytest.raises(BadEnvironment) as caught:
        read(HEAD + "x = 1")
    assert len(caught.value.lines) == 2
    assert caught.value.lines[1] == (
        "inventories/staging.toml: the hosts file inventories/staging is missing; "
        "create it, for example with: dev_servers = []"
    )


def test_faults_of_another_file_are_reported_only_for_that_file(root: Path, read: Reading) -> None:
    (root / "inventories" / "production.toml").write_text("= broken")
    refresh = '[refresh.shop]\nfrom = "production/shop"\ninto = "postgresql:///shop"\nsanitise = "sanitise/shop.sql"\n'
    with pytest.raises(BadEnvironment, match='production has no database "shop"; it has no databases'):
        read(WHOLE + refresh)
