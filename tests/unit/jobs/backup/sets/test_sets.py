import re
from datetime import UTC, datetime, timedelta, timezone

from jobs.backup.sets.sets import Set, new_id, of_entries, prefix, started
from jobs.store import Entry

AT = datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)
ONE, TWO = "20261121T020000Z-3f9a", "20261122T020000Z-0001"


def listing(*lines: tuple[str, int]) -> list[Entry]:
    return [Entry(f"prod/backups/{key}", size, AT + timedelta(minutes=4), "v") for key, size in sorted(lines)]


def found(*lines: tuple[str, int]) -> list[Set]:
    return list(of_entries("prod", listing(*lines)))


def test_a_name_tells_when_the_set_was_begun_in_utc() -> None:
    name = new_id(AT.astimezone(timezone(timedelta(hours=5))))
    assert re.fullmatch(r"20261121T020000Z-[0-9a-f]{4}", name)
    assert started(name) == AT
    assert started("lost+found") is started("20261121T020000Z-3F9A") is None


def test_a_set_is_told_from_its_keys() -> None:
    [one] = found(
        (f"shop/{ONE}/defs.0", 10),
        (f"shop/{ONE}/data-1.0", 100),
        (f"shop/{ONE}/data-1.1", 50),
        (f"shop/{ONE}/tags/pre-migration", 0),
        (f"shop/{ONE}/tags/v1.2", 0),
        (f"shop/{ONE}/pin", 2),
        (f"shop/{ONE}/verified.json", 300),
        (f"shop/{ONE}/manifest.json", 3000),
    )
    assert one.complete
    assert one.pinned
    assert one.tags == ("pre-migration", "v1.2")
    assert one.size == 160
    assert one.duration == timedelta(minutes=4)
    assert one.verified == AT + timedelta(minutes=4)
    assert one.failed_verification is None
    assert one.prefix == prefix("prod", "shop", ONE) == f"prod/backups/shop/{ONE}/"


def test_a_set_without_a_manifest_is_not_complete() -> None:
    [dead] = found((f"shop/{ONE}/defs.0", 10), (f"shop/{ONE}/tags/manifest.json", 0))
    assert not dead.complete
    assert dead.duration is None


def test_databases_are_told_apart_though_their_names_begin_alike() -> None:
    names = ["a", "a-b", "a.b", "ab"]
    told = found(*((f"{name}/{each}/manifest.json", 1) for name in names for each in (ONE, TWO)))
    assert [(each.database, each.id) for each in told] == [
        (name, each) for name in ("a-b", "a.b", "a", "ab") for each in (ONE, TWO)
    ]


def test_what_is_no_set_is_passed_over() -> None:
    assert found(("shop/readme", 1), ("shop/notes/manifest.json", 1), (f"shop/{ONE}", 1)) == []
