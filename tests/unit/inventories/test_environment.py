"""Read a whole environment file into objects."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from inventories import BackupLimits, BadEnvironment, Environment, Repository, Span
from tests.unit.inventories.conftest import Reading

SHIPPED = Path(__file__).parents[3]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"
DESIGNED = """
[environment]
name = "staging"
protected = true
timezone = "Europe/Berlin"
[store]
url = "s3://acme-backups/groundcrew"
region = "eu-central-1"
endpoint = ""
profile = ""
profiles = { backup = "writer", retention = "pruner" }
max_parts = 1000
encrypt_to = "nobody"
decrypt_with = { file = "/etc/groundcrew/age.key" }
sign_with = { file = "/etc/groundcrew/signing.key" }
trust = [
    'namespaces="groundcrew-manifest,groundcrew-verification"  PUBLIC  runner-1',
]
[servers.main]
url = "postgresql://backup@db.internal:5432/postgres"
password = { env = "MAIN_DB_PASSWORD" }
via = { ssh = "bastion.internal" }
exclude = ["scratch*"]
backup = "0 */6 * * *"
verify = "0 5 * * 0"
retention = "30 6 * * *"
keep = { within = "2d", daily = 90, yearly = 5, tags = [["pre-migration"]] }
parallel = 4
counts = false
shrink = "30%"
limits = { run = "3h", stall = "5m" }
[databases.shop]
url = "postgresql://backup@shop.internal/shop"
backup = "0 2 * * *"
keep = { daily = 7, weekly = "all" }
[refresh.shop]
from = "production/main.shop"
into = "postgresql://owner@db.staging/shop"
sanitise = "sanitise/shop.sql"
at = "0 4 * * 1"
[verify]
scratch = ""
space = "3x"
sign_with = { env = "VERIFY_KEY" }
[terraform]
program = "tofu"
state = { bucket = "acme-terraform-state", region = "eu-central-1", lock_table = "terraform-locks" }
keep = ["aws_db_instance"]
[stacks.network]
[stacks.cluster]
after = ["network"]
[drift]
check = "0 * * * *"
ignore = [{ resource = "aws_instance.dev*", attribute = "tags.LastSeen", why = "written by the inventory agent" }]
[hosts]
check = "0 7 * * *"
deploys = ["host", "k3s"]
ssh_key = { file = "/etc/groundcrew/hosts.key" }
known_hosts = "known_hosts"
ignore = [{ host = "dev-*", operation = "/etc/motd", why = "developers write their own" }]
[cost]
check = "0 9 * * 1"
budget = 2500
filter = { tag = { Environment = "production" } }
role = ""
[status]
at = "*/30 * * * *"
[alerts]
to = [{ env = "SLACK_ALERTS_URL" }, "mailto://ops@acme.example"]
remind = "12h"
[alerts.heartbeat]
backup = { env = "HEARTBEAT_BACKUP_URL" }
[metrics]
textfile = "/var/lib/prometheus/node-exporter/groundcrew.prom"
"""


@pytest.fixture
def designed(read: Reading) -> Environment:
    return read(DESIGNED.replace("PUBLIC", KEY))


def test_the_heading(designed: Environment, root: Path) -> None:
    assert (designed.name, designed.protected, designed.timezone) == ("staging", True, ZoneInfo("Europe/Berlin"))
    assert designed.file == root / "inventories" / "staging.toml"
    assert designed.folder == root / "inventories"


def test_the_store(designed: Environment) -> None:
    store = designed.store
    assert store
    assert (store.url, store.region, store.endpoint) == ("s3://acme-backups/groundcrew", "eu-central-1", "")
    assert (store.profile, dict(store.profiles)) == ("", {"backup": "writer", "retention": "pruner"})
    assert (store.max_parts, store.encrypt_to) == (1000, ())
    assert store.signing_key
    assert (store.signing_key.source, store.signing_disabled) == ("file /etc/groundcrew/signing.key", False)
    assert store.trust == (f'namespaces="groundcrew-manifest,groundcrew-verification" {KEY} runner-1',)


def test_signatures_can_be_disabled(read: Reading) -> None:
    text = '[environment]\nname = "staging"\n[store]\nurl = "file:///s"\nencrypt_to = "nobody"\nsign_with = "nobody"\n'
    store = read(text).store
    assert store
    assert (store.signing_key, store.signing_disabled) == (None, True)


def test_a_server(designed: Environment) -> None:
    main = designed.servers["main"]
    assert (main.name, main.exclude, main.parallel, main.counts) == ("main", ("scratch*",), 4, False)
    assert (main.backup, main.verify, main.retention) == ("0 */6 * * *", "0 5 * * 0", "30 6 * * *")
    assert (main.keep.within, main.keep.daily, main.keep.yearly) == (Span(days=2), 90, 5)
    assert main.keep.tags == (("pre-migration",),)
    assert main.shrink == 0.3
    assert main.limits == BackupLimits(run=timedelta(hours=3), stall=timedelta(minutes=5), lock=timedelta(seconds=60))


def test_a_database_and_its_defaults(designed: Environment) -> None:
    shop = designed.databases["shop"]
    assert (shop.password, shop.via, shop.verify, shop.retention) == (None, None, None, None)
    assert (shop.parallel, shop.compression, shop.counts, shop.shrink, shop.limits) == (2, 1, True, 0.5, BackupLimits())
    assert not shop.trust_owners
    assert (shop.keep.daily, shop.keep.weekly, shop.keep.last) == (7, -1, None)


def test_the_other_sections(designed: Environment, root: Path) -> None:
    refresh, cost = designed.refresh["shop"], designed.cost
    assert (refresh.source_environment, refresh.source_database) == ("production", "main.shop")
    assert refresh.sanitise == root / "inventories" / "sanitise" / "shop.sql"
    assert (designed.verify.scratch, designed.verify.space) == ("", 3.0)
    assert designed.verify.sign_with
    assert designed.verify.sign_with.source == "environment variable VERIFY_KEY"
    assert designed.terraform.state
    assert designed.terraform.state.lock_table == "terraform-locks"
    assert designed.stacks["cluster"].after == ("network",)
    assert designed.drift
    assert designed.drift.ignore[0].why == "written by the inventory agent"
    assert designed.hosts
    assert (designed.hosts.deploys, designed.hosts.known_hosts) == (("host", "k3s"), designed.folder / "known_hosts")
    assert designed.hosts.ignore[0].operation == "/etc/motd"
    assert cost
    assert (cost.budget, cost.thresholds, dict(cost.filter.tag)) == (2500, (50, 80, 100), {"Environment": "production"})
    assert designed.status
    assert designed.status.publish is None
    assert designed.alerts.remind == timedelta(hours=12)
    assert list(designed.alerts.heartbeat) == ["backup"]
    assert designed.metrics.textfile == Path("/var/lib/prometheus/node-exporter/groundcrew.prom")


def test_a_minimal_file(read: Reading) -> None:
    minimal = read('[environment]\nname = "staging"')
    assert (minimal.store, minimal.drift, minimal.cost, minimal.status) == (None, None, None, None)
    assert [*minimal.servers, *minimal.databases, *minimal.refresh, *minimal.stacks, *minimal.alerts.to] == []
    assert (minimal.timezone, minimal.protected) == (ZoneInfo("UTC"), False)
    assert (minimal.terraform.program, minimal.verify.space, minimal.metrics.textfile) == ("terraform", 2.0, None)


def test_the_objects_are_immutable(designed: Environment) -> None:
    with pytest.raises(FrozenInstanceError):
        designed.databases["shop"].parallel = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        designed.databases["x"] = designed.databases["shop"]  # type: ignore[index]
    assert all(_unchanging(getattr(designed, one.name)) for one in fields(designed))


def _unchanging(value: object) -> bool:
    if is_dataclass(value):
        return all(_unchanging(getattr(value, one.name)) for one in fields(value))
    return not isinstance(value, dict | list | set)


def test_secrets_are_never_shown(designed: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIN_DB_PASSWORD", "correct-horse")
    password = designed.servers["main"].password
    assert password
    assert password.reveal() == "correct-horse"
    assert "correct-horse" not in repr(designed)
    assert "password=***" in repr(designed.servers["main"])
    assert "to=(***, ***)" in repr(designed.alerts)
    import json

    assert json.loads(json.dumps(asdict(designed.verify) | {"password": password}, default=str))["password"] == "***"


@pytest.mark.parametrize("name", Repository.find(SHIPPED).names())
def test_each_shipped_environment_is_valid(name: str) -> None:
    assert Repository.find(SHIPPED).read(name).name == name


def example(name: str) -> Environment | None:
    """A shipped environment; None if a team has changed or removed it."""
    file = SHIPPED / "inventories" / f"{name}.toml"
    return Repository.find(SHIPPED).read(name) if file.exists() and "acme" in file.read_text() else None


def test_the_shipped_environments_match_the_documentation() -> None:
    if dev := example("dev"):
        assert (dev.protected, len(dev.databases), len(dev.servers)) == (False, 0, 0)
    if staging := example("staging"):
        assert [(one.backup, one.keep.daily) for one in staging.databases.values()] == [("0 2 * * *", 7)]
        assert staging.cost
        assert (staging.protected, staging.cost.budget) == (False, 300)
        assert "RAISE EXCEPTION" in staging.refresh["app"].sanitise.read_text(), "a refresh fails until it is written"
    if production := example("production"):
        [app] = production.databases.values()
        assert (app.backup, app.keep.daily, app.keep.yearly) == ("0 */6 * * *", 90, -1)
        assert production.cost
        assert (production.protected, production.cost.budget, production.cost.check) == (True, 2500, "0 9 * * 1")


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(root: Path) -> None:
    (root / "inventories" / "staging.toml").write_bytes(b'\xef\xbb\xbf[environment]\r\nname = "staging"\r\n')
    assert Repository.find(root).read("staging").name == "staging"


def test_the_lines_of_an_error_are_its_text() -> None:
    bad = BadEnvironment("one", "two")
    assert (bad.lines, str(bad)) == (("one", "two"), "one\ntwo")
