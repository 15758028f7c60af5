"""`crew check` asks RDS, here an emulator, which moments can be restored."""

from __future__ import annotations

import boto3
import pytest

from jobs.checks.check import CheckVerdict, result_of
from jobs.checks.rds import checks
from tests.parts.runs import environment

SHOP = '[databases.shop]\nurl = "postgresql://backup@{}/shop"\npassword = {{ env = "SHOP" }}\n'


def test_the_window_of_an_instance_and_of_a_cluster(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_RDS": moto_server,
        "AWS_ACCESS_KEY_ID": "groundcrew-tests",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret-at-all",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("rds", region_name="eu-central-1")
    client.create_db_instance(
        DBInstanceIdentifier="checked",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        AllocatedStorage=20,
        BackupRetentionPeriod=7,
    )
    client.create_db_cluster(
        DBClusterIdentifier="checked",
        Engine="aurora-postgresql",
        MasterUsername="owner",
        MasterUserPassword="not-a-secret-at-all",
        BackupRetentionPeriod=3,
    )
    for label, days in (("c9ak", 7), ("cluster-c9ak", 3)):
        host = f"checked.{label}.eu-central-1.rds.amazonaws.com"
        (check,) = checks(environment(more=SHOP.format(host)))
        result = result_of(check)
        assert (check.name, result.verdict) == ("rds checked", CheckVerdict.OK), result
        assert result.fact.endswith(f"UTC can be restored; backups are kept for {days} days"), result
    (check,) = checks(environment(more=SHOP.format("gone.c9ak.eu-central-1.rds.amazonaws.com")))
    gone = result_of(check)
    assert gone.verdict is CheckVerdict.WARN
    assert "DBInstance gone not found" in gone.fact
    assert "rds:DescribeDBInstances" in gone.remedy
