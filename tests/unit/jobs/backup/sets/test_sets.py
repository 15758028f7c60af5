import re
from datetime import UTC, datetime, timedelta, timezone

from jobs.backup.sets.sets import Set, new_set_id, set_prefix, set_timestamp, sets_from_listing
from jobs.store import ListedKey

AT = datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)
ONE, TWO = "20261121T020000Z-3f9a", "20261122T020000Z-0001"


def listing(*lines: tuple[str, int]) -> list[ListedKey]:
    return [ListedKey(f"prod/backups/{key}", size, AT + timedelta(minutes=4), "v") for key, size in sorted(lines)]


def sets_in(*lines: tuple[str, int]) -> list[Set]:
    return list(sets_from_listing("prod", listing(*lines)))


def test_a_set_id_has_its_start_time_in_utc() -> None:
    set_id = new_set_id(AT.astimezone(timezone(timedelta(hours=5))))
    assert re.fullmatch(r"20261121T020000Z-[0-9a-f]{4}", set_id)
    assert set_timestamp(set_id) == AT
    assert set_timestamp("lost+found") is set_timestamp("20261121T020000Z-3F9A") is None


def test_a_set_is_read_from_its_keys() -> None:
    [backup_set] = sets_in(
        (f"shop/{ONE}/defs.0", 10),
        (f"shop/{ONE}/data-1.0", 100),
        (f"shop/{ONE}/data-1.1", 50),
        (f"shop/{ONE}/tags/pre-migration", 0),
        (f"shop/{ONE}/tags/v1.2", 0),
        (f"shop/{ONE}/pin", 2),
        (f"shop/{ONE}/verified.json", 300),
        (f"shop/{ONE}/manifest.json", 3000),
    )
    assert backup_set.complete
    assert backup_set.pinned
    assert backup_set.tags == ("pre-migration", "v1.2")
    assert backup_set.size == 160
    assert backup_set.duration == timedelta(minutes=4)
    assert backup_set.verified == AT + timedelta(minutes=4)
    assert backup_set.failed_verification is None
    assert backup_set.prefix == set_prefix("prod", "shop", ONE) == f"prod/backups/shop/{ONE}/"


def test_times_come_from_names_and_not_from_the_objects() -> None:
    ended, failed, passed = "20261121T020130.500Z", "20261121T030000.000Z", "20261121T040000.000Z"
    keys = [f"shop/{ONE}/manifest.json", f"shop/{ONE}/ended/{ended}", f"shop/{ONE}/verifications/{failed}-failed"]
    [backup_set] = sets_in(*((key, 0) for key in keys))
    assert backup_set.duration == timedelta(seconds=90.5)
    assert (backup_set.verified, backup_set.failed_verification) == (None, AT.replace(hour=3))
    assert backup_set.has_failed
    [backup_set] = sets_in(*((key, 0) for key in keys), (f"shop/{ONE}/verifications/{passed}-passed", 0))
    assert not backup_set.is_verified, "a success counts only with its document"
    keys += [f"shop/{ONE}/verifications/{passed}-passed", f"shop/{ONE}/verified.json"]
    [backup_set] = sets_in(*((key, 0) for key in keys))
    assert (backup_set.verified, backup_set.failed_verification) == (AT.replace(hour=4), None)


def test_results_without_keys_of_their_own_still_count() -> None:
    [failed] = sets_in((f"shop/{ONE}/manifest.json", 0), (f"shop/{ONE}/verification-failed.json", 0))
    assert failed.has_failed
    assert failed.failed_verification == AT + timedelta(minutes=4)


def test_a_set_without_a_manifest_is_not_complete() -> None:
    [dead] = sets_in((f"shop/{ONE}/defs.0", 10), (f"shop/{ONE}/tags/manifest.json", 0))
    assert not dead.complete
    assert dead.duration is None


def test_databases_with_a_common_prefix_are_kept_apart() -> None:
    names = ["a", "a-b", "a.b", "ab"]
    sets = sets_in(*((f"{name}/{each}/manifest.json", 1) for name in names for each in (ONE, TWO)))
    assert [(each.database, each.id) for each in sets] == [
        (name, each) for name in ("a-b", "a.b", "a", "ab") for each in (ONE, TWO)
    ]


def test_keys_that_belong_to_no_set_are_skipped() -> None:
    no_times = ("20261321T020000Z-3f9a", "20261121T250000Z-3f9a", "\u0662\u0660261121T020000Z-3f9a", "..", "")
    assert sets_in(*((f"shop/{name}/manifest.json", 1) for name in no_times)) == []
    assert sets_in(("shop/readme", 1), ("shop/notes/manifest.json", 1), (f"shop/{ONE}", 1)) == []
