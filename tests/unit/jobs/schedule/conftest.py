"""Environment files with schedules, for the tests of this directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories import Environment, Repository

PRODUCTION = """
[environment]
name = "production"
timezone = "Europe/Berlin"
[store]
url = "s3://acme-backups/groundcrew"
encrypt_to = "nobody"
sign_with = "nobody"
decrypt_with = { file = "/etc/groundcrew/age.key" }
[servers.main]
url = "postgresql://backup@db.internal:5432/postgres"
password = { env = "MAIN_DB_PASSWORD" }
backup = "0 */6 * * *"
verify = "0 5 * * 0"
retention = "30 6 * * *"
[databases.shop]
url = "postgresql://backup@shop.internal/shop"
password = { file = "/etc/groundcrew/shop.password" }
backup = "0 2 * * *"
retention = "30 6 * * *"
[databases.unscheduled]
url = "postgresql://backup@shop.internal/other"
[drift]
check = "0 * * * *"
[status]
at = "*/30 * * * *"
[alerts]
to = [{ env = "SLACK_ALERTS_URL" }, "mailto://ops@acme.example"]
[alerts.heartbeat]
backup = { env = "HEARTBEAT_BACKUP_URL" }
[metrics]
textfile = "/var/lib/prometheus/node-exporter/groundcrew.prom"
"""

STAGING = """
[environment]
name = "staging"
[store]
url = "file:///var/lib/groundcrew/store"
encrypt_to = "nobody"
sign_with = "nobody"
[refresh.shop]
from = "production/shop"
into = "postgresql://owner@db.staging/shop"
password = { env = "STAGING_DB_PASSWORD" }
sanitise = "sanitise.sql"
at = "0 4 * * 1"
[hosts]
check = "30 7 * * *"
deploys = ["host"]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "production.toml").write_text(PRODUCTION)
    (tmp_path / "staging.toml").write_text(STAGING)
    (tmp_path / "sanitise.sql").write_text("select 1")
    return Repository.find(tmp_path)


@pytest.fixture
def production(repository: Repository) -> Environment:
    return repository.read("production")


@pytest.fixture
def staging(repository: Repository) -> Environment:
    return repository.read("staging")
