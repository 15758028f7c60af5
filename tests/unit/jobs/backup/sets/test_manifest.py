import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.backup.errors import UnreadableSet
from jobs.backup.postgres.settings import DatabaseProperties
from jobs.backup.sets.manifest import (
    Extension,
    Manifest,
    Part,
    PartKind,
    PartPiece,
    SequenceValue,
    SourceServer,
    TableRows,
    decode_manifest,
    encode_manifest,
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
    server=SourceServer("16.4", 16, "7300000000000000001", standby=False),
    tools={"groundcrew": "0.1.0", "pg_dump": "16.4", "zstd": "1.5.7", "age": "1.4.0"},
    recipients=("age1x",),
    settings=DatabaseProperties("UTF8", "C", "C", "libc", None, "owner", "the shop's", -1, ("search_path=a, b",)),
    snapshot="00000003-0000001B-1",
    parts=(
        Part("defs", PartKind.DEFINITIONS, None, (PartPiece("defs.0", 10),), 10, "aa", 100),
        Part(
            "data-1",
            PartKind.TABLE,
            '"public"."Ordérs"',
            (PartPiece("data-1.0", 20), PartPiece("data-1.1", 2)),
            22,
            "bb",
            900,
        ),
    ),
    tables=(TableRows("public", "Ordérs", 7, 8192), TableRows("public", "empty", 0, 0)),
    sequences=(SequenceValue("public", "s", None),),
    extensions=(Extension("hstore", "1.8", "public"),),
    large_objects=2,
    notes=("Roles were dumped without passwords.",),
)


def test_a_manifest_survives_encoding_and_decoding() -> None:
    assert decode_manifest(encode_manifest(MANIFEST), "x") == MANIFEST


def test_the_stored_json_is_as_documented() -> None:
    body = json.loads(encode_manifest(MANIFEST))
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
    assert json.loads(encode_manifest(replace(MANIFEST, recipients=())))["encryption"] == "none"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "this is not a document of groundcrew (JSONDecodeError"),
        (b"[]", "this is not a document of groundcrew (TypeError"),
        (b'{"format": 1}', "this is not a document of groundcrew (KeyError: 'set')"),
        (b'{"format": 2}', "has format 2; this version of groundcrew reads format 1; upgrade groundcrew"),
        (
            encode_manifest(MANIFEST).replace(b'"definitions"', b'"odd"'),
            "this is not a document of groundcrew (ValueError",
        ),
        (
            encode_manifest(MANIFEST).replace(b'"rows": 7', b'"lines": 7'),
            "this is not a document of groundcrew (KeyError: 'rows')",
        ),
    ],
)
def test_an_unreadable_manifest_is_an_error(body: bytes, sentence: str) -> None:
    with pytest.raises(UnreadableSet, match=r"^shop/1") as raised:
        decode_manifest(body, "shop/1")
    assert sentence in str(raised.value)


def test_unknown_keys_are_ignored() -> None:
    body = json.loads(encode_manifest(MANIFEST))
    body["later"] = body["server"]["later"] = 1
    assert decode_manifest(json.dumps(body).encode(), "x") == MANIFEST


def test_the_total_of_rows_is_known_only_if_all_were_counted() -> None:
    assert MANIFEST.rows == 7
    assert replace(MANIFEST, tables=(TableRows("a", "b", None, 0), TableRows("a", "c", 3, 0))).rows is None


def test_a_manifest_of_an_earlier_version_is_read() -> None:
    stored = json.loads(encode_manifest(MANIFEST))
    del stored["settings"]["private"]
    assert decode_manifest(json.dumps(stored).encode(), "x") == MANIFEST


def change_part(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["parts"][1].update({name: value})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda body: body.update(set="../../production"), "is not a set ID"),
        (lambda body: body.update(environment="x/../y"), "is not the name of an environment or database"),
        (lambda body: body.update(database=".."), "is not the name of an environment or database"),
        (lambda body: body.update(database="a\x1b[2J"), "is not the name of an environment or database"),
        (lambda body: body.update(started="2026-11-21T02:00:00"), "a time has no time zone"),
        (lambda body: body.update(tools={"pg_dump": "new"}), "is not a version"),
        (change_part("name", "../../etc/cron.d/x"), "is not the name of a part"),
        (change_part("name", "defs"), "two parts have the same name"),
        (change_part("pieces", [{"key": "../../../other/backups/x/y/rest.0", "size": 1}]), "the pieces of part data-1"),
        (change_part("pieces", [{"key": "data-1.1", "size": 1}]), "the pieces of part data-1"),
        (change_part("pieces", [{"key": "data-1.0", "size": -1}]), "is not a number of bytes"),
        (change_part("size", "9" * 9), "is not a number of bytes"),
        (change_part("sha256", "\x1b[2J"), "is not a hash"),
    ],
)  # fmt: skip
def test_names_and_keys_are_checked_before_use(change: Callable[[dict[str, Any]], None], fault: str) -> None:
    body = json.loads(encode_manifest(MANIFEST))
    change(body)
    with pytest.raises(UnreadableSet, match=fault) as raised:
        decode_manifest(json.dumps(body).encode(), "x/manifest.json")
    assert str(raised.value).isprintable()


def test_a_deeply_nested_document_is_an_error() -> None:
    with pytest.raises(UnreadableSet, match="not a document of groundcrew"):
        decode_manifest(b"[" * 100_000, "x/manifest.json")
