"""What a former primary wrote after the split, from lines of pg_waldump."""

from __future__ import annotations

import pytest

from deploys.lib.postgres import split_report
from deploys.lib.postgres.split_report import WalRecord, Written, position

ORDERS, COPIED, CATALOG = "16385/16390", "16385/16400", "16385/1259"
DUMP = [
    ("Heap", 735, "0/04000028", "INSERT off 2 flags 0x08", ORDERS),
    ("Transaction", 734, "0/04000068", "COMMIT 2026-11-30 07:25:36.000001 UTC", ""),
    ("Heap2", 736, "0/04000828", "MULTI_INSERT+INIT 3 tuples flags 0x02", COPIED),
    ("Heap2", 736, "0/04000888", "MULTI_INSERT ntuples: 2, flags: 0x02, offsets: [4, 5]", COPIED),
    ("Btree", 736, "0/040008A0", "INSERT_LEAF off 2", "16385/16401"),
    ("Heap", 737, "0/04000900", "DELETE off 1 flags 0x00", ORDERS),
    ("Heap", 738, "0/04000980", "HOT_UPDATE off 1 xmax 738", CATALOG),
    ("Transaction", 735, "0/04000A00", "COMMIT 2026-11-30 07:25:37.000001 UTC; subxacts: 737 736", ""),
    ("Transaction", 0, "0/04000A40", "COMMIT_PREPARED 738: 2026-11-30 07:25:39.000001 UTC", ""),
    ("Heap", 739, "0/04000A80", "INSERT off 3 flags 0x08", ORDERS),
    ("Transaction", 739, "0/04000AC0", "ABORT 2026-11-30 07:25:40.000001 UTC", ""),
]
SPLIT = position("0/4000800")


def line(manager: str, transaction: int, lsn: str, what: str, block: str) -> str:
    """Return a line as pg_waldump prints it."""
    start = f"rmgr: {manager:<11} len (rec/tot):     59/    59, tx: {transaction:>10}, lsn: {lsn}, prev 0/03FFFFF0"
    return f"{start}, desc: {what}" + (f", blkref #0: rel 1663/{block} blk 0" if block else "")


def records() -> list[WalRecord]:
    return [WalRecord(*found.groups()) for each in DUMP if (found := split_report.RECORD.match(line(*each)))]


def written() -> Written:
    found = split_report.committed(records(), SPLIT)
    split_report.count_changes(records(), found)
    return found


def test_transactions_count_if_they_were_committed_after_the_split() -> None:
    found = written()
    assert (found.commits, found.transactions) == (2, {"735", "736", "737", "738"})
    assert (found.first[:19], found.last[:19], found.end) == (
        "2026-11-30 07:25:37", "2026-11-30 07:25:39", "0/04000AC0",
    )  # fmt: skip
    assert found.changes == {
        ("16385", "16390", "inserted"): 1,  # it began before the split
        ("16385", "16390", "deleted"): 1,
        ("16385", "16400", "inserted"): 5,
        ("16385", "1259", "updated"): 1,
    }


def test_a_summary_names_tables_rows_and_what_has_no_name() -> None:
    tables = {("16385", "16390"): ('shop: public."or ders"', 1, "rows-1.csv")}
    assert list(split_report.summary_lines(written(), "0/4000800", 1, tables)) == [
        "after the split at 0/4000800 of timeline 1, 2 transactions were committed here, from 2026-11-30 "
        "07:25:37.000001 UTC to 2026-11-30 07:25:39.000001 UTC; the WAL ends after 0/04000AC0",
        'shop: public."or ders": 1 inserted, 1 deleted; 1 rows as they were at the end: rows-1.csv',
        "database 16385, file 16400, which is no longer a table, or a part of one (TOAST): 5 inserted",
        "1 changes of PostgreSQL's own tables: definitions, roles, statistics",
        "deleted rows still exist on the new primary",
    ]
    assert list(split_report.summary_lines(Written(), "0/4000800", 1, {})) == [
        "after the split at 0/4000800 of timeline 1, no transaction was committed here"
    ]


HISTORY_3 = "1\t0/4000800\tno recovery target specified\n\n2\t0/5000000\tno recovery target specified\n"


@pytest.mark.parametrize(
    ("own", "own_timeline", "other", "other_timeline", "expected"),
    [
        ("", 1, "1\t0/4000800\tx\n", 2, (1, "0/4000800")),
        ("1\t0/4000800\tx\n", 2, HISTORY_3, 3, (2, "0/5000000")),
        ("", 1, HISTORY_3, 3, (1, "0/4000800")),
        ("1\t0/3000000\tx\n", 4, HISTORY_3, 3, (1, "0/3000000")),
    ],
)
def test_histories_part_where_the_first_of_them_leaves_the_shared_timeline(
    own: str, own_timeline: int, other: str, other_timeline: int, expected: tuple[int, str]
) -> None:
    timeline, split = split_report.split_point(
        split_report.ends_of_timelines(own, own_timeline), split_report.ends_of_timelines(other, other_timeline)
    )
    assert (timeline, split_report.wal_position(split)) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000000010000000000000004", "000000010000000000000005"], "0/4000000"),
        (["000000010000000000000003", "000000010000000000000004", "archive_status"], "0/3000000"),
        (["000000010000000000000001", "000000010000000000000004"], "0/4000000"),
        (["000000020000000000000004", "000000010000000000000005"], None),
    ],
)
def test_reading_starts_before_the_split_if_the_wal_is_there(names: list[str], expected: str | None) -> None:
    start = split_report.first_segment(names, 1, SPLIT)
    assert (start if start is None else split_report.wal_position(start)) == expected
