"""Rows of FOCUS files, the current files of an export, and the forecast."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from inventories import Cost
from inventories.environment import Filter
from jobs.cost.bill import Charge, ChargeKind, Commitments, CostError
from jobs.cost.export_files import ExportFile, newest_deliveries
from jobs.cost.focus import bill_of, decode_exports, encode_exports, remaining_cost
from jobs.cost.focus_rows import Sums, read_sums
from tests.parts.bills import at
from tests.parts.focus import COLUMNS, days, row, text

DAY = date(2026, 11, 3)


def read(*rows: dict[str, str], tags: dict[str, str] | None = None, **settings: Any) -> Sums:
    cost = Cost(budget=300, filter=Filter(tag=tags or {}), **settings)
    return read_sums("a.csv", io.StringIO(text(rows), newline=""), cost)


def test_charges_are_summed_by_currency_day_service_and_kind() -> None:
    found = read(
        row("2026-11-03", "1.25"),
        row("2026-11-03", "2.5", ChargePeriodStart="2026-11-03 13:00:00"),
        row("2026-11-03", "9", BillingCurrency="EUR"),
        row("2026-11-03", "-4", ChargeCategory="Credit"),
        row("2026-11-04", "1E-7", ChargeCategory="Tax", ServiceName="NULL"),
        row("2026-11-04", "8", ChargeCategory="Purchase"),
    )
    machines = "Virtual machines"
    assert found.amounts == {
        ("USD", DAY, machines, ChargeKind.USE): Decimal("3.75"),
        ("EUR", DAY, machines, ChargeKind.USE): Decimal(9),
        ("USD", DAY, machines, ChargeKind.CREDIT): Decimal(-4),
        ("USD", date(2026, 11, 4), "(no service)", ChargeKind.FEE): Decimal("1E-7"),
        ("USD", date(2026, 11, 4), machines, ChargeKind.FEE): Decimal(8),
    }


def test_a_filter_counts_only_charges_with_all_its_tags() -> None:
    rows = [
        row("2026-11-03", "1"),
        row("2026-11-03", "2", Tags='{"Environment": "production"}'),
        row("2026-11-03", "4", Tags=""),
        row("2026-11-03", "8", Tags='{"Environment": "staging", "Team": "a"}'),
    ]
    assert sum(read(*rows, tags={"Environment": "staging"}).amounts.values()) == 9
    assert sum(read(*rows, tags={"Environment": "staging", "Team": "a"}).amounts.values()) == 8


def test_usage_is_kept_by_description_owner_and_stack() -> None:
    def tags(owner: str, stack: str) -> str:
        return f'{{"Owner": "{owner}", "Stack": "{stack}", "Count": 3}}'

    found = read(
        row("2026-11-03", "2", ChargeDescription="m5.large", Tags=tags("data", "network")),
        row("2026-11-04", "3", ChargeDescription="m5.large", Tags=tags("data", "cluster")),
        row("2026-11-04", "0.001", ChargeDescription="a small request"),
        row("2026-11-04", "5", ChargeCategory="Tax", ChargeDescription="VAT"),
        row("2026-11-04", "7", ChargeDescription="x" * 200, Tags=""),
        owner_tag="Owner",
        stack_tag="Stack",
    )
    machines, month = "Virtual machines", date(2026, 11, 1)
    assert found.items == {
        ("USD", DAY, machines, "m5.large", "data"): 2,
        ("USD", date(2026, 11, 4), machines, "m5.large", "data"): 3,
        ("USD", date(2026, 11, 4), machines, "x" * 80, ""): 7,
    }
    assert found.shares == {
        ("USD", month, "Owner", "data", machines): 5,
        ("USD", month, "Owner", "", machines): Decimal("7.001"),
        ("USD", month, "Stack", "network", machines): 2,
        ("USD", month, "Stack", "cluster", machines): 3,
        ("USD", month, "Stack", "", machines): Decimal("7.001"),
    }


def test_the_effective_cost_of_commitments_is_used_or_unused() -> None:
    columns = (*COLUMNS, "CommitmentDiscountStatus")
    rows = [
        row("2026-11-03", "100", ChargeCategory="Purchase"),
        row("2026-11-03", "0", CommitmentDiscountStatus="Used", EffectiveCost="3"),
        row("2026-11-04", "0", CommitmentDiscountStatus="Unused", EffectiveCost="1"),
        row("2026-10-31", "0", CommitmentDiscountStatus="Unused", EffectiveCost="9"),
    ]
    found = read_sums("a.csv", io.StringIO(text(rows, columns)), Cost(budget=300, commitments=90))
    assert found.committed == {("USD", DAY, "Used"): 3, ("USD", date(2026, 11, 4), "Unused"): 1,
                               ("USD", date(2026, 10, 31), "Unused"): 9}  # fmt: skip
    bill = bill_of({"v": found}, "USD", at("2026-11-05"), new=1, where="s3://b")
    assert bill.commitments == Commitments(Decimal(4), Decimal(1))
    assert not read(*rows).committed


def test_a_file_with_very_many_descriptions_keeps_a_limited_number() -> None:
    rows = [row("2026-11-03", "1", ChargeDescription=f"request {number}") for number in range(30_000)]
    found = read(*rows)
    assert (sum(found.amounts.values()), len(found.items)) == (30_000, 0)


def test_sums_are_stored_and_read_with_the_same_settings_only() -> None:
    settings = Cost(budget=300, owner_tag="Owner")
    found = {"version": read(row("2026-11-03", "2", ChargeDescription="m5.large"), owner_tag="Owner")}
    fields = json.loads(encode_exports(found, settings))
    assert decode_exports(fields, settings) == found
    assert decode_exports(fields, Cost(budget=300)) == {}
    assert decode_exports({"tags": {}, "files": {}}, settings) == {}


@pytest.mark.parametrize(
    ("fields", "fact"),
    [
        ({"BilledCost": "1,50"}, "BilledCost is not an amount: '1,50'"),
        ({"BilledCost": "NaN"}, "BilledCost is not an amount"),
        ({"ChargePeriodStart": "03/11/2026"}, "ChargePeriodStart is not a time: '03/11/2026'"),
        ({"ChargePeriodStart": "9999-12-31T00:00:00Z"}, "ChargePeriodStart is not a time: '9999-12-31T00:00:00Z'"),
        ({"ChargeCategory": "Bribe"}, "ChargeCategory is 'Bribe', which is none of Usage, Purchase"),
        ({"BillingCurrency": "\x1b[2J"}, "BillingCurrency is not a currency: '\\x1b[2J'"),
        ({"Tags": "[1]"}, "Tags is not a JSON object: '[1]'"),
        ({"Tags": "[" * 100_000}, "Tags is not a JSON object"),
        ({"ServiceName": "x" * 200_000}, "field larger than field limit"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(fields: dict[str, str], fact: str) -> None:
    with pytest.raises(CostError) as error:
        read(row("2026-11-03"), row("2026-11-03", **fields), tags={"Environment": "staging"})
    assert str(error.value).startswith("a.csv line 3: ")
    assert fact in str(error.value)


def test_a_row_that_was_cut_off_is_named() -> None:
    whole = text([row("2026-11-03"), row("2026-11-04")])
    with pytest.raises(CostError, match=r"a\.csv line 3: has 6 columns, but the header has 18"):
        read_sums("a.csv", io.StringIO(whole[: whole.rindex("Usage") + 5]), Cost(budget=300))


@pytest.mark.parametrize("missing", ["BilledCost", "ChargeClass", "ServiceName"])
def test_another_version_or_format_is_refused(missing: str) -> None:
    columns = [column for column in COLUMNS if column != missing]
    with pytest.raises(CostError, match=f"a.csv is not an export in FOCUS 1.0 to 1.3, because it lacks .*{missing}"):
        read_sums("a.csv", io.StringIO(text([row("2026-11-03")], columns)), Cost(budget=300))


def file(name: str, modified: str = "2026-11-05") -> ExportFile:
    return ExportFile(name, f"{name} {modified}", at(modified), io.BytesIO)


AWS = "s3://b/acme/data/BILLING_PERIOD=2026-11"
AZURE = "s3://b/focus/20261001-20261031"


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ([file(f"{AWS}/a-1.csv.gz"), file(f"{AWS}/a-2.csv.gz")], [f"{AWS}/a-1.csv.gz", f"{AWS}/a-2.csv.gz"]),
        (
            [file(f"{AWS}/run-b/a.csv", "2026-11-04"), file(f"{AWS}/run-a/a.csv", "2026-11-05")],
            [f"{AWS}/run-a/a.csv"],
        ),
        ([file(f"{AZURE}/1/a.csv", "2026-11-06"), file(f"{AZURE}/2/a.csv", "2026-11-04")], [f"{AZURE}/1/a.csv"]),
        ([file("s3://b/data/BILLING_PERIOD=2026-08/a.csv")], []),
        ([file("/srv/nov.csv"), file("/srv/oct.csv")], ["/srv/nov.csv", "/srv/oct.csv"]),
    ],
    ids=["overwritten", "new folder each time", "by days", "too old", "own files"],
)  # fmt: skip
def test_each_billing_period_is_read_once(files: list[ExportFile], chosen: list[str]) -> None:
    assert [each.name for each in newest_deliveries(files, date(2026, 9, 30))] == chosen


def usage(first: str, count: int, amount: str = "10") -> tuple[Charge, ...]:
    return tuple(Charge(day, "x", ChargeKind.USE, Decimal(amount)) for day in days(first, count))


@pytest.mark.parametrize(
    ("charges", "newest", "today", "expected"),
    [
        (usage("2026-10-01", 46), "2026-11-15", "2026-11-15", "160"),  # today and 15 more days
        (usage("2026-10-01", 44), "2026-11-13", "2026-11-15", "170"),  # the 14th has no charges yet
        ((*usage("2026-10-01", 46), Charge(date(2026, 11, 10), "x", ChargeKind.USE, Decimal(900))), "2026-11-15",
         "2026-11-15", "160"),  # one unusual day does not count
        ((*usage("2026-10-01", 46), Charge(date(2026, 10, 20), "tax", ChargeKind.FEE, Decimal(29))), "2026-11-15",
         "2026-11-15", "189"),  # last month's fee comes again
        ((*usage("2026-10-01", 46), Charge(date(2026, 10, 2), "tax", ChargeKind.FEE, Decimal(29))), "2026-11-15",
         "2026-11-15", "160"),  # this month's fee is on the bill already
        (usage("2026-10-01", 31), "2026-10-31", "2026-11-02", "300"),  # the new month has no charges yet
        (usage("2026-11-10", 6), "2026-11-15", "2026-11-15", None),
    ],
)  # fmt: skip
def test_the_forecast(charges: tuple[Charge, ...], newest: str, today: str, expected: str | None) -> None:
    found = remaining_cost(charges, date.fromisoformat(newest), date.fromisoformat(today))
    assert found == (None if expected is None else Decimal(expected))


def test_charges_in_other_currencies_are_named_and_not_counted() -> None:
    read_files = {"v": read(row("2026-11-03", "5"), row("2026-11-03", "7", BillingCurrency="EUR"))}
    bill = bill_of(read_files, "USD", at("2026-11-05"), new=1, where="s3://b")
    assert sum(charge.amount for charge in bill.charges) == 5
    assert bill.others == {"EUR": Decimal(7)}


@pytest.mark.parametrize(
    ("rows", "fact"),
    [([row("2026-11-03")], "the newest charges are of 2026-11-03"), ([], "there are no charges")],
)
def test_an_export_that_stopped_is_an_error(rows: list[dict[str, str]], fact: str) -> None:
    with pytest.raises(CostError, match=f"s3://b: {fact}; check that the provider still writes this export"):
        bill_of({"v": read(*rows)}, "USD", datetime(2026, 11, 9, tzinfo=UTC), new=1, where="s3://b")


def test_a_file_that_is_cut_off_is_damaged() -> None:
    body = gzip.compress(text([row("2026-11-03")]).encode())[:-20]
    broken = ExportFile("a.csv.gz", "v", at("2026-11-05"), lambda: io.BytesIO(body))
    with pytest.raises(CostError, match=r"a\.csv\.gz is damaged"), broken.open() as stream:
        read_sums("a.csv.gz", stream, Cost(budget=300))
