"""FOCUS files in Parquet, with the types of columns that providers choose."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from inventories import Cost
from inventories.environment import Filter
from jobs.cost import export_files, parquet
from jobs.cost.bill import ChargeKind, CostError
from jobs.cost.focus import read_exported_bill
from jobs.cost.focus_rows import READ_COLUMNS, Sums, sums_of_rows
from jobs.cost.parquet import ParquetRows
from tests.parts.bills import at
from tests.parts.focus import row
from tests.parts.needs import needs
from tests.parts.runs import environment, store_in

PYARROW = needs("package-pyarrow")
DAY = date(2026, 11, 3)


def written(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return a Parquet file with costs as numbers, times as times and tags as maps."""
    arrow, files = import_module("pyarrow"), import_module("pyarrow.parquet")
    typed = {"BilledCost": arrow.float64(), "ChargePeriodStart": arrow.timestamp("ms", "UTC"),
             "Tags": arrow.map_(arrow.string(), arrow.string())}  # fmt: skip
    fields = [arrow.field(name, typed.get(name, arrow.string())) for name in rows[0]]
    body = io.BytesIO()
    files.write_table(arrow.Table.from_pylist(list(rows), schema=arrow.schema(fields)), body)
    return body.getvalue()


def charge(cost: float | None, tags: dict[str, str] | None, **more: str) -> dict[str, Any]:
    day = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    return {**row(DAY), "BilledCost": cost, "ChargePeriodStart": day, "Tags": list((tags or {}).items()), **more}


def read(body: bytes, **settings: Any) -> Sums:
    return sums_of_rows("a.parquet", ParquetRows(io.BytesIO(body), READ_COLUMNS), Cost(budget=300, **settings))


@PYARROW
def test_numbers_times_and_maps_are_read_like_their_text() -> None:
    rows = [charge(1.5, {"Owner": "data"}), charge(1e-7, {}, ChargeCategory="Tax"), charge(2.0, {"Owner": "shop"})]
    found = read(written(rows), owner_tag="Owner")
    assert found.amounts == {
        ("USD", DAY, "Virtual machines", ChargeKind.USE): Decimal("3.5"),
        ("USD", DAY, "Virtual machines", ChargeKind.FEE): Decimal("1E-7"),
    }
    assert {owner: amount for (*_, owner, _), amount in found.shares.items()} == {"data": Decimal("1.5"), "shop": 2}
    assert read(written(rows), filter=Filter(tag={"Owner": "shop"})).amounts.popitem()[1] == 2


@PYARROW
@pytest.mark.parametrize(
    ("body", "fact"),
    [
        (lambda: b"no parquet", "a.parquet line 0: "),
        (lambda: written([charge(1.0, {})])[:-40], "a.parquet line 0: "),
        (lambda: written([charge(1.0, {}), charge(None, {})]), "a.parquet line 3: BilledCost is not an amount: ''"),
        (lambda: written([{"BilledCost": 1.0}]), "a.parquet is not an export in FOCUS"),
    ],
    ids=["another format", "cut off", "a row without a cost", "other columns"],
)
def test_a_broken_file_is_named_with_its_row(body: Any, fact: str) -> None:
    with pytest.raises(CostError) as error:
        read(body())
    assert str(error.value).startswith(fact)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ([("Owner", "data")], '{"Owner": "data"}'),
        ({"Owner": None, "At": DAY}, '{"Owner": null, "At": "2026-11-03"}'),
    ],
)
def test_nested_values_as_text(value: object, text: str) -> None:
    assert parquet.nested_as_text(value) == text


def test_a_list_that_is_no_map_is_a_fault_of_the_row() -> None:
    with pytest.raises(ValueError, match="a list is not a map of tags"):
        parquet.nested_as_text([1, 2])


def exports(folder: Path) -> str:
    (folder / "bills").mkdir()
    return f'\n[cost]\nfrom = "focus"\nexports = "file://{folder}/bills"\nbudget = 300\n'


@PYARROW
def test_a_folder_of_parquet_files_is_a_bill(tmp_path: Path) -> None:
    env = environment(more=exports(tmp_path))
    (tmp_path / "bills/nov.snappy.parquet").write_bytes(written([charge(4.0, {})]))
    bill = read_exported_bill(env, at("2026-11-05"), store_in(tmp_path / "store"))
    assert [(each.day, each.amount) for each in bill.charges] == [(DAY, 4)]


def test_without_pyarrow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(more=exports(tmp_path))
    (tmp_path / "bills/nov.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(export_files, "can_read_parquet", lambda: False)
    with pytest.raises(CostError, match=r"pyarrow is not installed; install the extra parquet"):
        read_exported_bill(env, at("2026-11-05"), store_in(tmp_path / "store"))
