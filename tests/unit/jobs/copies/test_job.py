"""The job `copy` between two directories: what it writes, what it refuses, and what it reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.backup.sets.sets import Set, set_prefix
from jobs.backup.sets.stored import StoredSet, open_set
from jobs.retention.job import plan_prune
from jobs.run import Outcome
from jobs.run.job import UnknownName
from jobs.schedule.export.needs import run_timeout
from jobs.schedule.slots import slots, timers
from jobs.store import NotMarked, Store
from tests.parts.copies import TwoPlaces, two_places
from tests.parts.sets import daily, manifest_of, put, result, set_id
from tests.parts.signing import RESULT_SIGNER

NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def of_set(at: datetime) -> str:
    return set_prefix("try", "shop", set_id(at))


def test_every_object_of_a_set_is_copied_but_pins_and_results(places: TwoPlaces) -> None:
    put(places.store, NEWEST, "tags/release", "pin", result(NEWEST, NEWEST + timedelta(minutes=5)), "note.json")
    record = places.run()
    assert record.outcome is Outcome.DONE
    assert record.sentence == f"copied 1 set, 15 B; offsite has 1 set, the newest {set_id(NEWEST)}"
    stays = ("verifications/", "/pin", "/note.json")
    own = [key for key in places.set_keys(copied=False) if not any(each in key for each in stays)]
    assert places.set_keys() == own
    for key in places.set_keys():
        assert places.copy.get(key).body == places.store.get(key).body


def test_a_second_run_copies_nothing(places: TwoPlaces) -> None:
    put(places.store, NEWEST)
    places.run()
    before = [(entry.key, entry.version) for entry in places.copy.list("try/backups/")]
    assert places.run().sentence.startswith("copied 0 sets, 0 B; offsite has 1 set")
    assert [(entry.key, entry.version) for entry in places.copy.list("try/backups/")] == before


def test_only_what_its_own_rules_keep_is_copied(tmp_path: Path) -> None:
    places = two_places(tmp_path, "keep = { daily = 3 }")
    for at in daily(NEWEST, 5):
        put(places.store, at)
    assert places.run(dry_run=True).sentence == "would copy 3 sets, 45 B, to offsite"
    assert not places.set_keys()
    assert places.run().figures["copied_sets"] == 3


@pytest.mark.parametrize("planted", [b"123", b"54321"])
def test_it_goes_on_at_the_next_piece_that_is_missing_or_wrong(places: TwoPlaces, planted: bytes) -> None:
    put(places.store, NEWEST)
    places.copy.put(of_set(NEWEST) + "defs.0", b"12345")
    places.copy.put(of_set(NEWEST) + "rest.0", planted)
    places.copy.put(of_set(NEWEST) + "manifest.json", manifest_of(NEWEST))
    record = places.run()
    assert record.sentence.startswith("copied 1 set, 10 B")
    assert len(places.copied_sets()) == 1


def test_a_set_that_failed_its_verification_there_is_repaired(places: TwoPlaces) -> None:
    put(places.store, NEWEST)
    places.run()
    places.copy.put(of_set(NEWEST) + "data-1.0", b"54321")
    places.copy.put(of_set(NEWEST) + result(NEWEST, NEWEST + timedelta(minutes=5), failed=True), b"")
    record = places.run()
    assert record.outcome is Outcome.DONE
    assert record.sentence == (
        f"copied 1 set, 5 B; offsite has 1 set, the newest {set_id(NEWEST)}; checked all pieces, because the last "
        f"verification in offsite failed: {set_id(NEWEST)}; copied those that were wrong, so verify again"
    )
    assert len(places.copied_sets()) == 1
    before = [(entry.key, entry.version) for entry in places.copy.list("try/backups/")]
    assert places.run().sentence.startswith(
        f"copied 0 sets, 0 B; offsite has 1 set, the newest {set_id(NEWEST)}; check"
    )
    assert [(entry.key, entry.version) for entry in places.copy.list("try/backups/")] == before


def test_a_failed_set_that_cannot_be_repaired_is_not_the_newest(places: TwoPlaces) -> None:
    older = NEWEST - timedelta(days=1)
    for at in (older, NEWEST):
        put(places.store, at)
    places.run()
    places.copy.put(of_set(NEWEST) + result(NEWEST, NEWEST + timedelta(minutes=5), failed=True), b"")
    places.store.delete([key for key in places.set_keys(copied=False) if set_id(NEWEST) in key])
    assert places.run().sentence == (
        f"copied 0 sets, 0 B; offsite has 1 set, the newest {set_id(older)}; "
        f"failed verification in offsite and not repaired: {set_id(NEWEST)}"
    )


def test_a_piece_that_the_copy_lost_is_copied_again(places: TwoPlaces) -> None:
    put(places.store, NEWEST)
    places.run()
    places.copy.delete([of_set(NEWEST) + "rest.0"])
    assert places.run().sentence == f"copied 1 set, 5 B; offsite has 1 set, the newest {set_id(NEWEST)}"
    assert len(places.copied_sets()) == 1


def test_an_object_that_somebody_adds_to_a_set_is_not_copied(places: TwoPlaces) -> None:
    put(places.store, NEWEST)
    places.run()
    places.store.put(of_set(NEWEST) + "planted.0", b"much more than before")
    assert places.run().sentence.startswith("copied 0 sets, 0 B; offsite has 1 set")
    places.copy.delete([key for key in places.set_keys() if "/ended/" in key])
    assert places.run().sentence.startswith("copied 1 set, 0 B; offsite has 1 set")
    assert len(places.copied_sets()) == 1


def test_a_set_that_retention_removes_meanwhile_is_no_finding(
    places: TwoPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(places.store, NEWEST)
    put(places.store, NEWEST - timedelta(days=1))

    def removing(store: Store, backup_set: Set, *args: object) -> StoredSet:
        opened = open_set(store, backup_set, None)
        if backup_set.id == set_id(NEWEST):
            store.delete([each.key for each in store.list(backup_set.prefix)])
        return opened

    monkeypatch.setattr("jobs.copies.transfer.open_set", removing)
    record = places.run()
    assert record.outcome is Outcome.DONE
    assert record.figures["copied_sets"] == 1


@pytest.mark.parametrize(
    ("piece", "body", "fact"),
    [
        ("data-1.0", b"12344", "the sha256 of piece data-1.0 is"),
        ("rest.0", b"1234", "piece rest.0 has only 4 of its 5 bytes"),
    ],
)
def test_a_damaged_piece_is_never_completed_there_and_is_a_finding(
    places: TwoPlaces, piece: str, body: bytes, fact: str
) -> None:
    older = NEWEST - timedelta(days=1)
    put(places.store, NEWEST)
    put(places.store, older)
    places.store.put(of_set(NEWEST) + piece, body)
    record = places.run()
    assert record.outcome is Outcome.FINDING
    assert record.sentence.startswith(f"could not copy 1 set: part {piece[:-2]} of set {set_id(NEWEST)} of try/shop is")
    assert fact in record.sentence
    assert f"offsite has 1 set, the newest {set_id(older)}" in record.sentence
    assert of_set(NEWEST) + piece not in places.set_keys()
    assert of_set(NEWEST) + "manifest.json" not in places.set_keys()
    assert not list(places.copy.open_uploads())


def test_a_missing_piece_is_a_finding_too(places: TwoPlaces) -> None:
    put(places.store, NEWEST)
    places.store.delete([of_set(NEWEST) + "rest.0"])
    assert "piece rest.0 is missing in the store" in places.run().sentence


def test_a_set_of_a_stranger_is_not_copied(places: TwoPlaces) -> None:
    put(places.store, NEWEST, signer=RESULT_SIGNER)
    assert places.run("offsite").sentence == "copied 0 sets, 0 B; offsite has no set yet"
    assert not places.set_keys()


def test_another_manifest_there_is_a_finding_and_stays(places: TwoPlaces) -> None:
    put(places.store, NEWEST)
    places.copy.put(of_set(NEWEST) + "manifest.json", b"{}")
    record = places.run()
    assert record.outcome is Outcome.FINDING
    assert "differs from that in" in record.sentence
    assert places.copy.get(of_set(NEWEST) + "manifest.json").body == b"{}"


def test_a_copy_that_was_not_made_fails_and_says_how_to_make_it(places: TwoPlaces) -> None:
    put(places.store, NEWEST)
    places.copy.delete(["try/groundcrew.json"])
    record = places.run()
    assert record.outcome is Outcome.FAILED
    assert "Correct copies.offsite.url, or mount its disk." in record.sentence
    assert record.sentence.endswith("crew check try --create")


def test_a_copy_that_is_the_store_under_another_name_is_refused(places: TwoPlaces) -> None:
    """Retention of the copy would remove sets of the store."""
    put(places.store, NEWEST)
    places.copy.put("try/groundcrew.json", places.store.get("try/groundcrew.json").body)
    record = places.run()
    assert record.outcome is Outcome.FAILED
    assert "is the same place as" in record.sentence
    assert "Correct copies.offsite.url" in record.sentence
    with pytest.raises(NotMarked, match="is the same place as"):
        plan_prune(places.store, places.environment, "offsite.shop", datetime.now(UTC))


def test_its_subjects_are_the_databases_of_the_copy(tmp_path: Path) -> None:
    places = two_places(tmp_path, 'databases = ["sh*"]')
    for database in ("shop", "blog"):
        put(places.store, NEWEST, database=database)
    assert [record.subject for record in places.run_all()] == ["offsite.shop"]
    assert [record.subject for record in places.run_all("offsite.blog")] == ["offsite.blog"]
    with pytest.raises(UnknownName, match=r"there is no copy other; there are: offsite"):
        places.run_all("other")
    with pytest.raises(UnknownName, match=r"nope has no backup sets; databases with sets: blog; shop"):
        places.run_all("offsite.nope")


def test_a_scheduler_waits_as_long_as_a_first_copy_can_take(places: TwoPlaces) -> None:
    (timer,) = timers("try", slots(places.environment))
    assert timer.command == ("run", "copy", "try", "--only", "offsite", "--scheduled")
    assert run_timeout(places.environment, timer) > timedelta(days=1)
