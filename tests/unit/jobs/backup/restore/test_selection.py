import pytest

from jobs.backup.errors import BackupError
from jobs.backup.restore.selection import ArchiveEntry, Selection, parse_entries, row_entries, select_tables


def entry(number: int, kind: str, name: str, *needs: int, schema: str = "public") -> ArchiveEntry:
    return ArchiveEntry(number, kind, schema, name, frozenset(needs))


ARCHIVE = (
    entry(1, "SCHEMA", "stock", schema="-"),
    entry(2, "TYPE", "mood"),
    entry(3, "FUNCTION", "touched()"),
    entry(4, "TABLE", "a", 2),
    entry(5, "SEQUENCE", "a_id_seq", 4),
    entry(6, "SEQUENCE OWNED BY", "a_id_seq", 5),
    entry(7, "TABLE", "b"),
    entry(8, "TABLE", "events"),
    entry(9, "TABLE", "events_1", 8),
    entry(10, "VIEW", "both", 4, 7),
    entry(11, "TABLE", "a", 1, schema="stock"),
    entry(12, "TABLE ATTACH", "events_1", 8, 9),
    entry(13, "DEFAULT", "a id", 4, 5),
    entry(14, "CONSTRAINT", "a a_pkey", 4),
    entry(15, "CONSTRAINT", "b b_pkey", 7),
    entry(16, "INDEX", "a_idx", 4),
    entry(17, "TRIGGER", "a touching", 4, 3),
    entry(18, "FK CONSTRAINT", "a a_b_fkey", 4, 7, 15),
    entry(19, "RULE", "both _RETURN", 10),
    entry(20, "PUBLICATION TABLE", "p a", 4, 21),
    entry(21, "PUBLICATION", "p", schema="-"),
    entry(22, "ACL", "TYPE mood", 2),
)


def test_selects_a_table_with_its_parts_and_their_dependencies() -> None:
    selection = select_tables(ARCHIVE, ["public.a"])
    assert selection == Selection(
        own=(4, 5, 6, 13, 14, 16, 17),
        needed=(2, 3, 22),
        tables=frozenset({("public", "a")}),
        sequences=frozenset({("public", "a_id_seq")}),
        left_out=("foreign key a a_b_fkey", "publication membership p a"),
    )


def test_selects_a_foreign_key_if_both_tables_are_selected() -> None:
    assert 18 in select_tables(ARCHIVE, ["public.a", "b"]).own


def test_selects_partitions_with_their_table_and_the_parents_definition_with_a_partition() -> None:
    assert select_tables(ARCHIVE, ["events"]).tables == {("public", "events"), ("public", "events_1")}
    partition = select_tables(ARCHIVE, ["events_1"])
    assert partition.tables == {("public", "events_1")}
    assert partition.needed == (8,)
    assert partition.own == (9, 12)


def test_refuses_names_that_are_unknown_or_ambiguous() -> None:
    with pytest.raises(BackupError, match=r"--tables a is ambiguous: the set has public\.a, stock\.a; add the schema"):
        select_tables(ARCHIVE, ["a"])
    with pytest.raises(BackupError, match="table both is not in this set"):
        select_tables(ARCHIVE, ["both"])


def test_parses_the_output_of_pg_restore() -> None:
    script = """
--
-- TOC entry 222 (class 1259 OID 21725)
-- Name: orders; Type: TABLE; Schema: public; Owner: postgres
-- Data Pos: 0
--
CREATE TABLE public.orders ();
--
-- TOC entry 3374 (class 2606 OID 21735)
-- Dependencies: 3348 220 222
-- Name: orders odd; Type: x fkey; Type: FK CONSTRAINT; Schema: public; Owner: shop owner
--
"""
    assert parse_entries(script) == (
        entry(222, "TABLE", "orders"),
        entry(3374, "FK CONSTRAINT", "orders odd; Type: x fkey", 3348, 220, 222),
    )


def test_finds_rows_by_the_longest_matching_name() -> None:
    listing = """
;
; Archive created at 2026-11-21
;
10; 0 21725 TABLE DATA public my table postgres
11; 0 21726 TABLE DATA public my postgres
12; 0 0 SEQUENCE SET public my seq the owner
13; 0 0 BLOBS - BLOBS
14; 0 21727 TABLE DATA public new line postgres
"""
    known = [("public", "my"), ("public", "my table"), ("public", "my seq"), ("public", "new\nline")]

    def selected(*tables: str) -> Selection:
        return Selection(
            (), (), frozenset(("public", table) for table in tables), frozenset({("public", "my seq")}), ()
        )

    assert row_entries(listing, selected("my"), known) == (11, 12)
    assert row_entries(listing, selected("my table", "new\nline"), known) == (10, 12, 14)
