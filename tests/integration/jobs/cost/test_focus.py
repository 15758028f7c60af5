"""Exports in a folder and in a bucket, from the command line and through boto3."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from jobs.checks.check import result_of
from jobs.checks.cost import checks
from jobs.cost.focus import read_exported_bill
from jobs.run.documents import utc_now
from tests.parts import s3
from tests.parts.crew import Repository
from tests.parts.focus import export, row
from tests.parts.runs import environment, store_in

NOVEMBER = "acme/data/BILLING_PERIOD=2026-11"


def test_a_folder_from_the_command_line(tmp_path: Path) -> None:
    today = utc_now().date()
    charges = [row(today - timedelta(days=number), "10") for number in range(1, 40)]
    bills = tmp_path / "bills"
    export(bills, "focus.csv.gz", [*charges, row(today, "3", BillingCurrency="EUR", ServiceName="S3\x1b[2J")])
    repository = Repository(tmp_path)
    repository.environment(text=f'[cost]\nfrom = "focus"\nexports = "file://{bills}"\nbudget = 30000\n', encrypt=False)
    shown = repository.crew("cost", "staging")
    assert shown.code == 0, shown
    assert "1 new export read" in shown.out
    assert "Charges in other currencies, not counted: 3.00 EUR" in shown.out
    assert "\x1b[2J" not in shown.out
    ran = json.loads(repository.crew("cost", "staging", "--refresh", "--json").out)
    assert (ran["pages"], ran["other_currencies"]) == (0, {"EUR": 3.0})
    done = repository.crew("run", "cost", "staging")
    assert done.code == 0, done
    assert done.out.startswith("done  cost focus ")


def test_a_bucket_is_read_once_and_only_the_newest_delivery(
    moto: s3.Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.endpoint)
    client = moto.client()

    def put(key: str, *rows: dict[str, str]) -> None:
        file = export(tmp_path / "made", key.rpartition("/")[2], rows)
        client.put_object(Bucket=moto.name, Key=key, Body=file.read_bytes())

    put(f"{NOVEMBER}/run-1/acme-1.csv.gz", row("2026-11-14", "1"))
    put(f"{NOVEMBER}/run-2/acme-1.csv.gz", row("2026-11-14", "2"))
    put("acme/data/BILLING_PERIOD=2026-10/run-1/acme-1.csv.gz", row("2026-10-14", "4"))
    client.put_object(Bucket=moto.name, Key="acme/metadata/BILLING_PERIOD=2026-11/acme-Manifest.json", Body=b"{}")
    settings = environment(more=f'\n[cost]\nfrom = "focus"\nexports = "s3://{moto.name}/acme"\nbudget = 300\n')
    store = store_in(tmp_path / "store")
    now = utc_now().replace(year=2026, month=11, day=16)
    first = read_exported_bill(settings, now, store)
    assert [(str(charge.day), charge.amount) for charge in first.charges] == [("2026-10-14", 4), ("2026-11-14", 2)]
    assert (first.pages, read_exported_bill(settings, now, store).pages) == (2, 0)
    put(f"{NOVEMBER}/run-3/acme-1.csv.gz", row("2026-11-15", "8"))
    again = read_exported_bill(settings, now, store)
    assert (again.pages, [charge.amount for charge in again.charges]) == (1, [4, 8])
    [check] = checks(settings)
    assert "2 exports in s3://" in str(result_of(check))
