"""A restore takes only the rows of a stored script."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.backup.errors import UnreadableSet
from jobs.backup.sets.segments import RowsOfScript, Segment, require_valid, script_end, script_start
from jobs.backup.sets.stored import LimitedSink

ORDERS = Segment("public", 'the "orders"', ("id", "näme"), "UTF8", 2)
START = script_start(ORDERS)


def rows_of(script: bytes, cuts: list[int]) -> bytes:
    """Return what the sink passes on if the script arrives in these pieces."""
    taken = LimitedSink()
    rows = RowsOfScript(taken, ORDERS)
    places = sorted({0, len(script), *(cut % (len(script) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        rows.write(script[start:end])
    rows.finish()
    return taken.body.getvalue()


def test_a_script_begins_with_the_settings_of_pg_dump_and_copies_into_one_table() -> None:
    assert START.decode().splitlines() == [
        "SET client_encoding = 'UTF8';",
        "SET search_path = '';",
        "SET row_security = off;",
        "SET xmloption = content;",
        "SET statement_timeout = 0;",
        'COPY "public"."the ""orders""" ("id", "näme") FROM stdin;',
    ]
    assert script_end() == b"\\.\n"


@given(
    rows=st.lists(st.binary(max_size=9).map(lambda row: row.replace(b"\n", b"\\n").replace(b"\\.", b"\\\\."))),
    cuts=st.lists(st.integers(min_value=0, max_value=400)),
)
def test_the_rows_pass_whole_however_the_script_is_cut(rows: list[bytes], cuts: list[int]) -> None:
    lines = b"".join(row + b"\n" for row in rows)
    assert rows_of(START + lines + script_end(), cuts) == lines


@pytest.mark.parametrize("cuts", [[], [len(START) - 1], [len(START) + 1], [*range(400)]], ids=str)
@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (b"\\! id\n" + START + script_end(), "does not begin with the statements"),
        (START.replace(b"public", b"secret") + script_end(), "does not begin with the statements"),
        (START[:-9], "cut off"),
        (b"", "cut off"),
        (START, "cut off"),
        (START + b"1\ta\n", "cut off"),
        (START + b"1\ta\n\\.", "cut off"),
        (START + b"1\ta\\.\n", "cut off"),
        (START + b"\\.\n\\! id\n\\.\n", "rows end before"),
        (START + b"1\ta\n\\.\n\\! id\n", "rows end before"),
        (START + b"1\ta\n\\.\n\\.\n", "rows end before"),
        (START + b"1\ta\n\\.\r\n2\tb\n\\.\n", "rows end before"),
    ],
)
def test_a_script_that_no_backup_wrote_is_refused(script: bytes, fault: str, cuts: list[int]) -> None:
    with pytest.raises(UnreadableSet, match=fault):
        rows_of(script, cuts)


@pytest.mark.parametrize(
    "segment",
    [
        Segment("public", "orders", (), "UTF8", 1),
        Segment("public", "", ("id",), "UTF8", 1),
        Segment("public", "or\0ders", ("id",), "UTF8", 1),
        Segment("public", "orders", ("id",), "UTF8'; \\! id", 1),
        Segment("public", "orders", ("id",), "UTF8", -1),
    ],
)
def test_a_segment_that_no_backup_described_is_refused(segment: Segment) -> None:
    with pytest.raises(ValueError, match="segment"):
        require_valid(segment)
