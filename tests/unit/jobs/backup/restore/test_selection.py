import time
from dataclasses import replace

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.restore.selection import (
    ArchiveEntry,
    Selection,
    early_indexes,
    entries_without,
    parse_entries,
    row_entries,
    rows_of,
    select_tables,
)


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


def test_indexes_are_early_if_they_need_their_own_table_and_no_function() -> None:
    archive = (
        *ARCHIVE,
        entry(23, "INDEX", "a_calls_idx", 4, 3),
        entry(24, "INDEX", "events_1_idx", 9),
        entry(25, "CONSTRAINT", "a a_key", 11, schema="stock"),
    )
    assert early_indexes(archive, [("public", "a"), ("public", "events_1")]) == {("public", "a"): (14, 16)}
    assert early_indexes(archive, [("stock", "a")]) == {("stock", "a"): (25,)}
    assert early_indexes(archive, []) == {}


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


LISTING = """;
; Archive created at 2026-11-30 02:00:00 UTC
;
222; 1259 21725 TABLE public orders postgres
3374; 2606 21735 FK CONSTRAINT public orders odd; Type: x fkey shop owner
;	depends on: 3348 220 222
"""


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
    entries = (
        entry(222, "TABLE", "orders"),
        entry(3374, "FK CONSTRAINT", "orders odd; Type: x fkey", 3348, 220, 222),
    )
    assert parse_entries(script, LISTING) == entries
    planted = """
CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $$
-- TOC entry 9999 (class 1259 OID 1)
-- Name: orders; Type: TABLE; Schema: public; Owner: postgres
-- TOC entry 3374 (class 2606 OID 21735)
-- Name: orders odd; Type: x fkey; Type: FK CONSTRAINT; Schema: public; Owner: shop owner
-- TOC entry 222 (class 1259 OID 21725)
-- Name: customers; Type: TABLE; Schema: public; Owner: postgres
SELECT 1 $$;
"""
    assert parse_entries(planted + script + planted, LISTING) == entries


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
    assert rows_of(listing, [("public", "my table")], known) == (10,)
    assert 10 not in entries_without(listing, [("public", "my table")], known)
    assert {11, 12, 14} < {*entries_without(listing, [("public", "my table")], known)}, "sequences and others stay"


def test_restores_extensions_for_entries_that_do_not_list_what_they_need() -> None:
    archive = (
        entry(1, "SCHEMA", "x", schema="-"),
        entry(2, "EXTENSION", "pgcrypto", 1, schema="-"),
        entry(3, "EXTENSION", "pg_cron", schema="-"),
        replace(entry(4, "FUNCTION", "h(text)"), hides_needs=True),
        entry(5, "TABLE", "hashed", 4),
        entry(6, "TABLE", "plain"),
    )
    assert select_tables(archive, ["hashed"]).needed == (1, 2, 4)
    assert select_tables(archive, ["plain"]).needed == ()


def test_an_exclusion_constraint_and_a_function_hide_what_they_need() -> None:
    script = """
-- TOC entry 1 (class 2606 OID 1)
-- Name: a a_pkey; Type: CONSTRAINT; Schema: public; Owner: me
ALTER TABLE ONLY public.a ADD CONSTRAINT a_pkey PRIMARY KEY (id);
-- TOC entry 2 (class 2606 OID 2)
-- Name: a a_excl; Type: CONSTRAINT; Schema: public; Owner: me
ALTER TABLE ONLY public.a ADD CONSTRAINT a_excl EXCLUDE USING gist (id WITH =);
-- TOC entry 3 (class 1255 OID 3)
-- Name: f(); Type: FUNCTION; Schema: public; Owner: me
"""
    listing = """
1; 2606 1 CONSTRAINT public a a_pkey me
2; 2606 2 CONSTRAINT public a a_excl me
3; 1255 3 FUNCTION public f() me
"""
    assert [each.hides_needs for each in parse_entries(script, listing)] == [False, True, True]


def test_a_name_with_a_newline_is_found() -> None:
    script = "-- TOC entry 1 (class 1259 OID 1)\n-- Name: new line; Type: TABLE; Schema: public; Owner: me\n"
    entries = parse_entries(script, "1; 1259 1 TABLE public new line me\n", [("public", "new\nline")])
    assert select_tables(entries, ["new\nline"]).tables == {("public", "new\nline")}


def test_a_partition_keeps_its_indexes_if_the_definition_of_its_parent_is_restored() -> None:
    archive = (
        entry(1, "TABLE", "events"),
        entry(2, "TABLE", "events_1", 1),
        entry(3, "TABLE ATTACH", "events_1", 1, 2),
        entry(4, "CONSTRAINT", "events events_pkey", 1),
        entry(5, "CONSTRAINT", "events_1 events_1_pkey", 2, 4),
        entry(6, "INDEX ATTACH", "events_1_pkey", 5, 4, 2, 1),
    )
    selection = select_tables(archive, ["events_1"])
    assert (selection.own, selection.needed) == ((2, 3, 5, 6), (1, 4))
    assert select_tables(archive, ["events_1"], with_needed=False).own == (2, 3)


def test_one_of_many_tables_and_partitions_is_selected_in_little_time() -> None:
    number = 20_000
    parent = entry(1, "TABLE", "events")
    tables = [entry(each, "TABLE", f"t{each}", 1) for each in range(2, number)]
    attached = [entry(number + each.id, "TABLE ATTACH", each.name, 1, each.id) for each in tables]
    known = [("public", each.name) for each in tables]
    listing = "".join(f"{each.id}; 0 1 TABLE DATA public {each.name} postgres\n" for each in tables)
    started = time.process_time()
    selection = select_tables((parent, *tables, *attached), ["t7"])
    assert row_entries(listing, selection, known) == (7,)
    assert len(select_tables((parent, *tables, *attached), ["events"]).tables) == number - 1
    assert time.process_time() - started < 5
