import pytest

from jobs.backup.errors import BackupError
from jobs.backup.restore.selection import Entry, Selection, entries, rows_of, select


def entry(number: int, kind: str, name: str, *needs: int, schema: str = "public") -> Entry:
    return Entry(number, kind, schema, name, frozenset(needs))


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


def test_a_table_comes_with_all_that_is_its_own_and_what_that_needs() -> None:
    chosen = select(ARCHIVE, ["public.a"])
    assert chosen == Selection(
        own=(4, 5, 6, 13, 14, 16, 17),
        needed=(2, 3, 22),
        tables=frozenset({("public", "a")}),
        sequences=frozenset({("public", "a_id_seq")}),
        left_out=("foreign key a a_b_fkey", "place in a publication p a"),
    )


def test_a_foreign_key_comes_when_both_its_tables_do() -> None:
    assert 18 in select(ARCHIVE, ["public.a", "b"]).own


def test_partitions_come_with_their_table_and_a_partition_with_its_tables_definition() -> None:
    assert select(ARCHIVE, ["events"]).tables == {("public", "events"), ("public", "events_1")}
    alone = select(ARCHIVE, ["events_1"])
    assert alone.tables == {("public", "events_1")}
    assert alone.needed == (8,)
    assert alone.own == (9, 12)


def test_names_have_to_be_there_and_mean_one_table() -> None:
    with pytest.raises(BackupError, match=r"any of public\.a, stock\.a; name its schema"):
        select(ARCHIVE, ["a"])
    with pytest.raises(BackupError, match="no table both"):
        select(ARCHIVE, ["both"])


def test_entries_are_read_from_what_pg_restore_prints() -> None:
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
    assert entries(script) == (
        entry(222, "TABLE", "orders"),
        entry(3374, "FK CONSTRAINT", "orders odd; Type: x fkey", 3348, 220, 222),
    )


def test_rows_are_found_by_the_longest_name_that_fits() -> None:
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

    def chosen(*tables: str) -> Selection:
        return Selection((), (), frozenset(("public", one) for one in tables), frozenset({("public", "my seq")}), ())

    assert rows_of(listing, chosen("my"), known) == (11, 12)
    assert rows_of(listing, chosen("my table", "new\nline"), known) == (10, 12, 14)
