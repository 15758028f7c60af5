import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.backup.errors import UnreadableSet
from jobs.backup.sets.manifest import (
    Manifest,
    Part,
    PartKind,
    PartPiece,
    SourceServer,
    decode_manifest,
    encode_manifest,
)

STARTED = datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)
A_HASH, B_HASH = "a" * 64, "b" * 64
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
    parts=(
        Part("defs", PartKind.DEFINITIONS, (PartPiece("defs.0", 10, A_HASH),), A_HASH, 100),
        Part(
            "data-1",
            PartKind.TABLE,
            (PartPiece("data-1.0", 20, A_HASH), PartPiece("data-1.1", 2, B_HASH)),
            A_HASH,
            900,
        ),
        Part("description", PartKind.DESCRIPTION, (PartPiece("description.0", 3, B_HASH),), B_HASH, 5),
    ),
)


def test_a_manifest_survives_encoding_and_decoding() -> None:
    assert decode_manifest(encode_manifest(MANIFEST), "x") == MANIFEST


def test_a_manifest_from_before_segments_is_read() -> None:
    body = json.loads(encode_manifest(MANIFEST))
    assert decode_manifest(json.dumps({**body, "format": 2}).encode(), "x") == MANIFEST


def test_the_stored_json_is_as_documented() -> None:
    body = json.loads(encode_manifest(MANIFEST))
    assert next(iter(body)) == "format"
    assert body["format"] == 3
    assert body["started"] == "2026-11-21T02:00:00.000Z"
    assert (body["encryption"], body["dumped_bytes"], body["stored_bytes"]) == ("age", 1005, 35)
    assert body["parts"][1] == {
        "name": "data-1",
        "kind": "table",
        "pieces": [
            {"key": "data-1.0", "size": 20, "sha256": A_HASH},
            {"key": "data-1.1", "size": 2, "sha256": B_HASH},
        ],
        "first_sha256": A_HASH,
        "dumped": 900,
    }
    assert json.loads(encode_manifest(replace(MANIFEST, recipients=())))["encryption"] == "none"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "this is not a document of groundcrew (JSONDecodeError"),
        (b"[]", "this is not a document of groundcrew (TypeError"),
        (b'{"format": 2}', "this is not a document of groundcrew (KeyError: 'set')"),
        (
            b'{"format": 1}',
            "has format 1; this version of groundcrew reads formats 2 to 3; it was written before the first",
        ),
        (b'{"format": 4}', "has format 4; this version of groundcrew reads formats 2 to 3; upgrade groundcrew"),
        (
            encode_manifest(MANIFEST).replace(b'"definitions"', b'"odd"'),
            "this is not a document of groundcrew (ValueError",
        ),
        (
            encode_manifest(MANIFEST).replace(b'"dumped": 900', b'"pumped": 900'),
            "this is not a document of groundcrew (KeyError: 'dumped')",
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


def test_the_pieces_of_a_part_that_was_dumped_again_do_not_begin_with_0() -> None:
    body = encode_manifest(MANIFEST).replace(b'"data-1.0"', b'"data-1.10000"').replace(b'"data-1.1"', b'"data-1.10001"')
    assert [piece.key for piece in decode_manifest(body, "x").parts[1].pieces] == ["data-1.10000", "data-1.10001"]


def change_part(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["parts"][1].update({name: value})


def change_piece(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["parts"][1]["pieces"][0].update({name: value})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda body: body.update(set="../../production"), "is not a set ID"),
        (lambda body: body.update(environment="x/../y"), "is not the name of an environment or database"),
        (lambda body: body.update(database=".."), "is not the name of an environment or database"),
        (lambda body: body.update(database="a\x1b[2J"), "is not the name of an environment or database"),
        (lambda body: body.update(started="2026-11-21T02:00:00"), "a time has no timezone"),
        (lambda body: body.update(tools={"pg_dump": "new"}), "is not a version"),
        (change_part("name", "../../etc/cron.d/x"), "is not the name of a part"),
        (change_part("name", "defs"), "two parts have the same name"),
        (change_piece("key", "../../../other/backups/x/y/rest.0"), "the pieces of part data-1"),
        (change_piece("key", "data-1.2"), "the pieces of part data-1"),
        (change_piece("key", "data-1.-1"), "the pieces of part data-1"),
        (change_piece("key", "data-1.00"), "the pieces of part data-1"),
        (change_piece("size", -1), "is not a number of bytes"),
        (change_piece("size", "9" * 9), "is not a number of bytes"),
        (change_piece("sha256", "\x1b[2J"), "is not a hash"),
        (change_part("first_sha256", "aa"), "is not a hash"),
        (change_part("kind", "definitions"), "it does not have one part with the definitions"),
        (lambda body: body["parts"].pop(), "it does not have one part with the description"),
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
