from jobs.backup.restore.index_builds import IndexBuild, index_builds
from jobs.backup.restore.selection import ArchiveEntry
from jobs.backup.sets.description import TableRows

SIZES = {"huge": 900, "small": 63, "big": 64, "wide": 70}


def entry(number: int, kind: str, name: str, *needs: int) -> ArchiveEntry:
    return ArchiveEntry(number, kind, "public", name, frozenset(needs))


ARCHIVE = (
    *(entry(number, "TABLE", name) for number, name in enumerate(SIZES, start=1)),
    entry(5, "FUNCTION", "half(integer)"),
    entry(10, "INDEX", "huge_a", 1),
    entry(11, "CONSTRAINT", "huge huge_pkey", 1),
    entry(12, "INDEX", "huge_b", 1),
    entry(13, "CONSTRAINT", "huge huge_key", 1),
    entry(20, "CONSTRAINT", "small small_pkey", 2),
    entry(30, "INDEX", "big_a", 3),
    entry(31, "INDEX", "big_b", 3),
    entry(40, "CONSTRAINT", "wide wide_pkey", 4),
    entry(41, "INDEX", "wide_calls", 4, 5),
    entry(42, "FK CONSTRAINT", "wide wide_fkey", 4, 11),
)
TABLES = [TableRows("public", name, None, size << 20) for name, size in SIZES.items()]


def test_the_biggest_tables_come_first_and_constraints_before_indexes() -> None:
    assert index_builds(ARCHIVE, TABLES, [("public", "huge")]) == {
        ("public", "huge"): (IndexBuild((11, 13), (IndexBuild((10,)), IndexBuild((12,)))),),
        None: [IndexBuild((40,)), IndexBuild((30,)), IndexBuild((31,))],
    }


def test_only_wanted_entries_are_built() -> None:
    assert index_builds(ARCHIVE, TABLES, [("public", "huge")], {10, 31, 20}) == {
        ("public", "huge"): (IndexBuild((10,)),),
        None: [IndexBuild((31,))],
    }
