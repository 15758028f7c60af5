import pytest

from jobs.backup.postgres.quoting import MAX_NAME_BYTES, clip_name, identifier, literal


@pytest.mark.parametrize(
    ("parts", "quoted"),
    [
        (("orders",), '"orders"'),
        (("public", "Orders"), '"public"."Orders"'),
        (('a "b"',), '"a ""b"""'),
        (("a.b", "it's"), '"a.b"."it\'s"'),
    ],
)
def test_identifiers_are_quoted(parts: tuple[str, ...], quoted: str) -> None:
    assert identifier(*parts) == quoted


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("", "''"), ("it's", "'it''s'"), ("a\\b", " E'a\\\\b'"), ("\\'", " E'\\\\'''")],
)
def test_literals_are_quoted(value: str, quoted: str) -> None:
    assert literal(value) == quoted


def test_a_long_name_is_cut_before_its_ending_at_a_whole_character() -> None:
    assert clip_name("shop", "_old") == "shop_old"
    assert clip_name("x" * 100, "_old") == "x" * 59 + "_old"
    clipped = clip_name("ü" * 40, "_old")
    assert clipped == "ü" * 29 + "_old"
    assert len(clipped.encode()) <= MAX_NAME_BYTES
