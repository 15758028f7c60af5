"""Rows of FOCUS files, the current files of an export, and the forecast."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from jobs.cost.bill import Charge, ChargeKind, CostError
from jobs.cost.export_files import ExportFile, newest_deliveries
from jobs.cost.focus import bill_of, remaining_cost
from jobs.cost.focus_rows import Amounts, read_amounts
from tests.parts.bills import at
from tests.parts.focus import COLUMNS, days, row, text

DAY = date(2026, 11, 3)


def read(*rows: dict[str, str], tags: dict[str, str] | None = None) -> Amounts:
    return read_amounts("a.csv", io.StringIO(text(rows), newline=""), tags or {})


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
    assert found == {
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
    assert sum(read(*rows, tags={"Environment": "staging"}).values()) == 9
    assert sum(read(*rows, tags={"Environment": "staging", "Team": "a"}).values()) == 8


@pytest.mark.parametrize(
    ("fields", "fact"),
    [
        ({"BilledCost": "1,50"}, "BilledCost is no amount: '1,50'"),
        ({"BilledCost": "NaN"}, "BilledCost is no amount"),
        ({"ChargePeriodStart": "03/11/2026"}, "ChargePeriodStart is no time: '03/11/2026'"),
        ({"ChargePeriodStart": "9999-12-31T00:00:00Z"}, "ChargePeriodStart is no time: '9999-12-31T00:00:00Z'"),
        ({"ChargeCategory": "Bribe"}, "ChargeCategory is 'Bribe', which is none of Usage, Purchase"),
        ({"BillingCurrency": "\x1b[2J"}, "BillingCurrency is no currency: '\\x1b[2J'"),
        ({"Tags": "[1]"}, "Tags is no JSON object: '[1]'"),
        ({"Tags": "[" * 100_000}, "Tags is no JSON object"),
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
        read_amounts("a.csv", io.StringIO(whole[: whole.rindex("Usage") + 5]), {})


@pytest.mark.parametrize("missing", ["BilledCost", "ChargeClass", "ServiceName"])
def test_another_version_or_format_is_refused(missing: str) -> None:
    columns = [column for column in COLUMNS if column != missing]
    with pytest.raises(CostError, match=f"a.csv is not an export in FOCUS 1.0 to 1.3, because it lacks .*{missing}"):
        read_amounts("a.csv", io.StringIO(text([row("2026-11-03")], columns)), {})


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
        read_amounts("a.csv.gz", stream, {})
