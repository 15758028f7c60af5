import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from jobs.backup.errors import Unreadable
from jobs.backup.sets.manifest import (
    Extension,
    Last,
    Manifest,
    Part,
    PartKind,
    Piece,
    Rows,
    Server,
    Settings,
    read,
    written,
)

STARTED = datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)
MANIFEST = Manifest(
    set="20261121T020000Z-3f9a",
    environment="production",
    database="shop",
    started=STARTED,
    ended=STARTED.replace(minute=4),
    run="r1",
    tags=("pre-migration",),
    server=Server("16.4", 16, "7300000000000000001", standby=False),
    tools={"groundcrew": "0.1.0", "pg_dump": "16.4", "zstd": "1.5.7", "age": "1.4.0"},
    recipients=("age1x",),
    settings=Settings("UTF8", "C", "C", "libc", None, "owner", "the shop's", -1, ("search_path=a, b",)),
    snapshot="00000003-0000001B-1",
    parts=(
        Part("defs", PartKind.DEFINITIONS, None, (Piece("defs.0", 10),), 10, "aa", 100),
        Part(
            "data-1", PartKind.TABLE, '"public"."Ordérs"', (Piece("data-1.0", 20), Piece("data-1.1", 2)), 22, "bb", 900
        ),
    ),
    tables=(Rows("public", "Ordérs", 7, 8192), Rows("public", "empty", 0, 0)),
    sequences=(Last("public", "s", None),),
    extensions=(Extension("hstore", "1.8", "public"),),
    large_objects=2,
    notes=("Roles were dumped without passwords.",),
)


def test_a_manifest_reads_as_it_was_written() -> None:
    assert read(written(MANIFEST), "x") == MANIFEST


def test_the_stored_form_is_the_one_that_is_settled() -> None:
    body = json.loads(written(MANIFEST))
    assert next(iter(body)) == "format"
    assert body["format"] == 1
    assert body["started"] == "2026-11-21T02:00:00.000Z"
    assert (body["encryption"], body["dumped_bytes"], body["stored_bytes"]) == ("age", 1000, 32)
    assert body["parts"][1] == {
        "name": "data-1",
        "kind": "table",
        "table": '"public"."Ordérs"',
        "pieces": [{"key": "data-1.0", "size": 20}, {"key": "data-1.1", "size": 2}],
        "size": 22,
        "sha256": "bb",
        "dumped": 900,
    }
    assert json.loads(written(replace(MANIFEST, recipients=())))["encryption"] == "none"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "is damaged"),
        (b"[]", "holds no object"),
        (b'{"format": 1}', "damaged: KeyError at 'set'"),
        (b'{"format": 2}', "has format 2; this groundcrew reads 1: use a newer one"),
        (written(MANIFEST).replace(b'"definitions"', b'"odd"'), "damaged: ValueError"),
        (written(MANIFEST).replace(b'"rows": 7', b'"lines": 7'), "damaged: KeyError at 'rows'"),
    ],
)
def test_what_is_no_manifest_is_told(body: bytes, sentence: str) -> None:
    with pytest.raises(Unreadable, match=r"^shop/1") as told:
        read(body, "shop/1")
    assert sentence in str(told.value)


def test_keys_added_later_to_the_same_format_are_left_alone() -> None:
    body = json.loads(written(MANIFEST))
    body["later"] = body["server"]["later"] = 1
    assert read(json.dumps(body).encode(), "x") == MANIFEST


def test_the_rows_of_all_tables_are_known_only_if_all_were_counted() -> None:
    assert MANIFEST.rows == 7
    assert replace(MANIFEST, tables=(Rows("a", "b", None, 0), Rows("a", "c", 3, 0))).rows is None
