import json
from dataclasses import replace

import pytest

from jobs.backup.errors import UnreadableSet
from jobs.backup.postgres.settings import DatabaseProperties
from jobs.backup.sets.description import (
    Description,
    Extension,
    SequenceValue,
    TableRows,
    decode_description,
    encode_description,
)
from jobs.backup.sets.segments import Segment

DESCRIPTION = Description(
    settings=DatabaseProperties("UTF8", "C", "C", "libc", None, "owner", "the shop's", -1, ("search_path=a, b",)),
    snapshot="00000003-0000001B-1",
    tables=(TableRows("public", "Ordérs", 7, 8192), TableRows("public", "empty", 0, 0)),
    sequences=(SequenceValue("public", "s", None),),
    extensions=(Extension("hstore", "1.8", "public"),),
    large_objects=2,
    table_parts={"rows-1-1": '"public"."Ordérs"'},
    notes=("Roles were dumped without passwords.",),
    segments={"rows-1-1": Segment("public", "Ordérs", ("id", "näme"), "UTF8", 7)},
)


def test_a_description_survives_encoding_and_decoding() -> None:
    assert decode_description(encode_description(DESCRIPTION), "x") == DESCRIPTION


def test_an_unreadable_description_is_an_error() -> None:
    body = encode_description(DESCRIPTION).replace(b'"rows": 7', b'"lines": 7')
    with pytest.raises(UnreadableSet, match=r"^shop/1: this is not a document of groundcrew \(KeyError: 'rows'\)"):
        decode_description(body, "shop/1")


def test_a_description_from_before_segments_is_read() -> None:
    body = json.loads(encode_description(DESCRIPTION))
    del body["segments"]
    assert decode_description(json.dumps({**body, "format": 1}).encode(), "x") == replace(DESCRIPTION, segments={})


def test_a_segment_that_no_backup_wrote_is_an_error() -> None:
    body = json.loads(encode_description(DESCRIPTION))
    body["segments"]["rows-1-1"]["encoding"] = "'; x"
    with pytest.raises(UnreadableSet, match=r"a segment has an encoding"):
        decode_description(json.dumps(body).encode(), "shop/1")


def test_unknown_keys_of_a_description_are_ignored() -> None:
    body = json.loads(encode_description(DESCRIPTION))
    body["later"] = body["settings"]["later"] = 1
    assert decode_description(json.dumps(body).encode(), "x") == DESCRIPTION


def test_the_total_of_rows_is_known_only_if_all_were_counted() -> None:
    assert DESCRIPTION.rows == 7
    assert replace(DESCRIPTION, tables=(TableRows("a", "b", None, 0), TableRows("a", "c", 3, 0))).rows is None
