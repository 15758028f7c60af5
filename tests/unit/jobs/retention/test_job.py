"""Removal of the sets that no rule keeps: a crash leaves no manifest without parts, and failures are reported."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import Environment, Repository
from jobs.backup.sets.in_use import IN_USE
from jobs.backup.sets.sets import set_prefix
from jobs.backup.sets.signatures import SigningKey, new_signing_key
from jobs.retention.job import (
    RETENTION,
    is_abandoned,
    keeps_too_few,
    plan_prune,
    plan_removal,
    retention,
    subjects,
)
from jobs.run import Options, Outcome, Record, run_job
from jobs.run.context import new_run_id
from jobs.run.job import Failed, UnknownName
from jobs.run.lease import Holder, holder_to
from jobs.run.record import record_to
from jobs.store import ListedKey, NotDeleted, Store, open_store
from jobs.store.directory import DirectoryStore
from tests.parts.runs import QUICK, store_in
from tests.parts.sets import daily, put, result, set_id, stored_sets
from tests.parts.signing import PUBLIC_LINES

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEWEST = NOW - timedelta(hours=10)
LOCK = "try/locks/backup/shop.json"
FILE = """
[environment]
name = "try"
[store]
url = "file://{store}"
encrypt_to = "nobody"
trust = {trust}
[servers.main]
url = "postgresql://nobody@127.0.0.1:1/postgres"
keep = {{ last = 1 }}
retention = "0 3 * * *"
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
keep = {{ {keep} }}
"""


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return store_in(tmp_path / "store")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return written(tmp_path, "daily = 2")


def written(folder: Path, keep: str) -> Environment:
    (folder / "try.toml").write_text(FILE.format(store=folder / "store", trust=PUBLIC_LINES, keep=keep))
    return Repository.find(folder).read("try")


def run(environment: Environment, store: Store, **options: object) -> Record:
    (record,) = run_job(
        RETENTION, environment, store, Options(only=("shop",), **options), now=lambda: NOW, timeouts=QUICK
    )
    return record


def names(store: Store) -> list[str]:
    return [each.id for each in stored_sets(store) if each.complete]


def keys(store: Store) -> list[str]:
    return [entry.key for entry in store.list("try/backups/")]


def test_a_set_that_no_rule_keeps_is_removed_with_all_its_keys(environment: Environment, store: Store) -> None:
    days = daily(NEWEST, 5)
    for at in days:
        put(store, at, "tags/x", result(at, NOW, failed=True))
    record = run(environment, store)
    assert (record.outcome, record.sentence) == (Outcome.DONE, "removed 3 of 5 sets, 45 B")
    assert record.figures["kept_bytes"] == 30
    assert names(store) == [set_id(at) for at in reversed(days[:2])]
    assert len(keys(store)) == 2 * 8


def test_a_dry_run_removes_nothing(environment: Environment, store: Store) -> None:
    for at in daily(NEWEST, 5):
        put(store, at)
    record = run(environment, store, dry_run=True)
    assert record.sentence == (
        "would remove 3 of 5 sets, 45 B; for each set, see crew backups prune try shop --dry-run"
    )
    assert len(names(store)) == 5


def test_pinned_and_verified_sets_are_kept(environment: Environment, store: Store) -> None:
    *_, verified, pinned, _gone = days = daily(NEWEST, 6)
    for at in days:
        put(store, at, *({verified: [result(verified, NOW)], pinned: ["pin"]}.get(at, [])))
    run(environment, store)
    assert names(store) == [set_id(at) for at in (pinned, verified, days[1], days[0])]


def test_a_set_in_use_is_kept(environment: Environment, store: DirectoryStore) -> None:
    *_, long_ago, now = days = daily(NEWEST, 5)
    for at in days:
        put(store, at, IN_USE)
        noted = {now: NOW, long_ago: NOW - timedelta(hours=1)}.get(at, NEWEST).timestamp()
        os.utime(store.root / set_prefix("try", "shop", set_id(at)) / IN_USE, (noted, noted))
    run(environment, store)
    assert names(store) == [set_id(at) for at in (now, days[1], days[0])]


def test_a_set_in_use_gets_no_new_lock(tmp_path: Path, store: Store) -> None:
    environment = written(tmp_path, "last = 1")
    assert environment.store
    locked = replace(environment, store=replace(environment.store, lock=timedelta(days=30)))
    newest, older = (put(store, at, IN_USE) for at in daily(NEWEST, 2))
    plan = plan_prune(store, locked, "shop", datetime.now(UTC))
    assert [each.id for each in plan.kept] == [newest, older]
    assert list(plan.renewals) == [newest]


def test_a_good_set_is_kept_instead_of_a_failed_one_of_the_same_day(environment: Environment, store: Store) -> None:
    newest, older = put(store, NEWEST), put(store, NEWEST - timedelta(hours=25))
    day_before = NEWEST - timedelta(hours=24)
    failed = put(store, day_before, result(day_before, NOW, failed=True))
    run(environment, store)
    assert names(store) == [older, newest]
    assert failed not in str(keys(store))


def test_a_policy_without_rules_removes_nothing_and_says_so(tmp_path: Path, store: Store) -> None:
    for at in daily(NEWEST, 3):
        put(store, at)
    record = run(written(tmp_path, ""), store)
    assert record.sentence == "removed 0 of 3 sets, 0 B; keep has no rules, so every set is kept"


def test_a_clock_that_is_far_behind_removes_nothing(environment: Environment, store: Store) -> None:
    for at in daily(NOW + timedelta(days=30), 5):
        put(store, at)
    record = run(environment, store)
    assert (record.outcome, record.figures) == (Outcome.FAILED, {})
    assert "this machine's clock shows 2026-11-21 12:00 UTC, more than a day before the newest set" in record.sentence
    assert len(names(store)) == 5
    put(store, NEWEST, signer=None)
    assert run(environment, store).outcome is Outcome.FAILED


def test_a_scheduled_run_that_would_leave_few_sets_removes_nothing(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDCREW__DATABASES__SHOP__RETENTION", "0 3 * * *")

    def prune(keep: str, day: int, *, scheduled: bool = True) -> Record:
        options, clock = Options(only=("shop",), scheduled=scheduled), NOW + timedelta(days=day)
        (record,) = run_job(
            RETENTION, written(tmp_path, keep), store, options, now=lambda: clock, timeouts=QUICK
        )  # fmt: skip
        return record

    for at in daily(NEWEST, 14):
        put(store, at)
    assert prune("daily = 12", 0).figures["kept_sets"] == 12
    put(store, NEWEST + timedelta(days=365))  # the clock is a year ahead
    record = prune('within = "30d"', 365)
    assert (record.outcome, record.sentence) == (
        Outcome.FINDING,
        "nothing was removed, because only 1 set would stay, and the last run kept 12; "
        "check the clock and keep; if they are right, run by hand: crew backups prune try shop",
    )
    assert prune('within = "30d"', 366).outcome is Outcome.FINDING, "until a person has run it"
    assert len(names(store)) == 13
    assert prune('within = "30d"', 367, scheduled=False).figures["removed_sets"] == 12
    assert prune("daily = 12", 368).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("kept", "before", "few"), [(1, None, False), (1, 9, False), (4, 10, True), (5, 10, False), (60, 20, False)]
)
def test_a_run_keeps_at_least_half_as_many_sets_as_the_last_one(kept: int, before: int | None, few: bool) -> None:
    assert keeps_too_few(kept, [{"kept_sets": 0}, {"kept_sets": before}] if before else []) == (before or 0) * few


def test_a_set_dated_in_the_future_is_named_and_ignored(environment: Environment, store: Store) -> None:
    days = daily(NEWEST, 4)
    for at in days:
        put(store, at)
    ahead = put(store, NOW + timedelta(days=30_000))
    record = run(environment, store)
    assert record.outcome is Outcome.DONE
    assert record.sentence == (
        f"removed 2 of 4 sets, 30 B; dated in the future and ignored: {ahead}; to remove one: crew backups prune --set"
    )
    assert names(store) == [set_id(days[1]), set_id(days[0]), ahead]


def test_a_set_dated_in_the_future_can_be_removed(environment: Environment, store: Store) -> None:
    kept = put(store, NEWEST)
    ahead = put(store, NOW + timedelta(days=30), "tags/x")
    with pytest.raises(UnknownName, match=f"no such set that is untrusted, of the future or .* .there are: {ahead}"):
        plan_removal(store, environment, "shop", kept, NOW)
    store.put(f"try/backups/shop/{ahead}/pin", b"")
    with pytest.raises(Failed, match=f"is pinned; unpin it first: crew backups unpin try shop --set {ahead}"):
        plan_removal(store, environment, "shop", ahead, NOW)
    store.delete([f"try/backups/shop/{ahead}/pin"])
    job, options = retention(set_id=ahead[-4:]), Options(only=("shop",))
    (record,) = run_job(job, environment, store, options, now=lambda: NOW, timeouts=QUICK)
    assert record.sentence == "removed 1 of 1 set, 15 B"
    assert names(store) == [kept]
    assert ahead not in str(keys(store))


def test_a_set_that_nobody_signed_neither_counts_nor_pushes_another_out(environment: Environment, store: Store) -> None:
    days = daily(NEWEST, 4)
    for at in days:
        put(store, at)
    unsigned = put(store, NEWEST + timedelta(minutes=1), signer=None)
    stranger = put(store, NEWEST + timedelta(minutes=2), signer=SigningKey(new_signing_key()[0]))
    record = run(environment, store)
    assert record.sentence == "removed 2 of 6 sets, 30 B; 2 untrusted sets: crew backups list try shop"
    assert names(store) == [set_id(days[1]), set_id(days[0]), unsigned, stranger]
    reasons = {each.set.id: each.reasons for each in plan_prune(store, environment, "shop", NOW).decisions}
    assert reasons[unsigned] == ("not counted, because it is not signed",)
    assert reasons[stranger] == ("not counted, because it is not signed by a key in trust",)


def test_a_set_that_nobody_signed_can_be_removed_by_name(environment: Environment, store: Store) -> None:
    kept = put(store, NEWEST)
    unsigned = put(store, NEWEST + timedelta(minutes=1), signer=None)
    options = Options(only=("shop",))
    (record,) = run_job(retention(set_id=unsigned), environment, store, options, now=lambda: NOW, timeouts=QUICK)
    assert (record.sentence, names(store)) == ("removed 1 of 1 set, 15 B", [kept])


@pytest.mark.parametrize("gone", ["manifest.json", "manifest.json.sig"])
def test_a_set_whose_manifest_was_deleted_is_a_finding_and_stays(
    environment: Environment, store: Store, gone: str
) -> None:
    put(store, NEWEST)
    cut = put(store, NOW - timedelta(hours=25))
    store.delete([f"try/backups/shop/{cut}/{gone}"])
    before = keys(store)
    record = run(environment, store)
    assert record.outcome is Outcome.FINDING
    assert record.sentence == (
        "removed 0 of 1 set, 0 B; kept, because the set was complete and its manifest or signature is gone: "
        f"{cut}; find out who removed it; to remove a set: crew backups prune --set"
    )
    assert keys(store) == before
    options = Options(only=("shop",))
    (record,) = run_job(retention(set_id=cut), environment, store, options, now=lambda: NOW, timeouts=QUICK)
    assert record.outcome is Outcome.DONE
    assert cut not in str(keys(store))


def backup_record(at: datetime, outcome: Outcome, backup_set: str) -> Record:
    return Record(
        environment="try", job="backup", subject="shop", run=new_run_id(at), tick=None, started=at, ended=at,
        outcome=outcome, sentence="", figures={"set": backup_set}, about="", attempts=1, stopped=None, host="h", pid=1,
        scheduled=True, took_over=None, missed=None, log=(),
    )  # fmt: skip


CUT = NOW - timedelta(hours=25)
DONE_WITH_CUT = (timedelta(minutes=-1), Outcome.DONE, set_id(CUT))


@pytest.mark.parametrize(
    ("runs", "holder", "removed"),
    [
        ([], None, False),
        ([DONE_WITH_CUT], None, False),
        ([(timedelta(minutes=-1), Outcome.DIED, "")], None, True),
        ([(timedelta(minutes=-1), Outcome.FAILED, "")], None, True),
        ([(timedelta(minutes=1), Outcome.DIED, "")], None, False),  # it began later, so it wrote another set
        ([(timedelta(days=-2), Outcome.DIED, "")], None, False),
        ([(timedelta(minutes=-9), Outcome.DIED, ""), DONE_WITH_CUT], None, False),
        ([(timedelta(minutes=-9), Outcome.DIED, ""), (timedelta(0), Outcome.FINDING, "other")], None, True),
        ([], timedelta(minutes=-1), True),  # no run followed that would have written the record
        ([], timedelta(minutes=1), False),
    ],
)
def test_a_set_whose_backup_was_killed_while_it_published_it_is_removed(
    environment: Environment,
    store: Store,
    runs: Sequence[tuple[timedelta, Outcome, str]],
    holder: timedelta | None,
    removed: bool,
) -> None:
    put(store, NEWEST)
    cut = put(store, CUT)
    store.delete([f"try/backups/shop/{cut}/manifest.json"])
    for after, outcome, of_run in runs:
        began = backup_record(CUT + after, outcome, of_run)
        store.put(began.key, record_to(began))
    if holder is not None:
        dead = held(run=new_run_id(CUT + holder), since=CUT + holder, renewed=None)
        store.put(LOCK, holder_to(dead))
    plan = plan_prune(store, environment, "shop", NOW)
    assert ([each.id for each in plan.abandoned_sets], [each.id for each in plan.lost_manifest]) == (
        ([cut], []) if removed else ([], [cut])
    )


@pytest.mark.parametrize("verified", [True, False])
def test_if_a_set_that_always_stays_is_damaged_nothing_is_removed(
    environment: Environment, store: Store, verified: bool
) -> None:
    days = daily(NEWEST, 5)
    for at in days:
        put(store, at, *([result(at, NOW)] if at == days[4] and verified else []))
    damaged = set_id(days[4] if verified else days[0])
    store.put(f"try/backups/shop/{damaged}/rest.0", b"")
    before = keys(store)
    record = run(environment, store)
    assert (record.outcome, keys(store)) == (Outcome.FINDING, before)
    assert record.sentence.startswith(
        "nothing was removed, because a set that always stays cannot be used: "
        f"part rest of set {damaged} of try/shop is damaged: piece rest.0 has only 0 of its 5 bytes"
    )


def test_two_sets_with_the_same_last_characters_need_a_full_id(environment: Environment, store: Store) -> None:
    put(store, NEWEST)
    ahead = [put(store, NOW + timedelta(days=days)) for days in (30, 31)]
    with pytest.raises(UnknownName, match=f"shop has 2 sets whose ID ends with 3f9a .{ahead[0]}, {ahead[1]}.; use a"):
        plan_removal(store, environment, "shop", "3f9a", NOW)
    assert [each.id for each in plan_removal(store, environment, "shop", ahead[1], NOW).removed] == ahead[1:]


def test_a_planted_set_of_the_future_does_not_stop_retention(environment: Environment, store: Store) -> None:
    put(store, NOW + timedelta(days=30), signer=None)
    dead = put(store, NOW - timedelta(hours=25), complete=False)
    assert run(environment, store).outcome is Outcome.DONE
    assert dead not in str(keys(store))


FORGED_MARKER = f"ended/19700101T000000.000Z-age-{'0' * 64}-{'ab' * 64}"


def test_a_planted_marker_makes_no_set_incomplete(tmp_path: Path, environment: Environment, store: Store) -> None:
    days = daily(NEWEST, 4)
    ids = [put(store, at, FORGED_MARKER, signer=None) for at in reversed(days)]
    before = keys(store)
    assert plan_prune(store, environment, "shop", NOW).abandoned_sets == ()  # unsigned sets under required signatures
    text = (tmp_path / "try.toml").read_text()
    (tmp_path / "try.toml").write_text(re.sub("trust = .*", 'sign_with = "nobody"', text))
    unsigned = Repository.find(tmp_path).read("try")
    assert [each.id for each in plan_prune(store, unsigned, "shop", NOW).kept] == ids[:1:-1]
    assert keys(store) == before


def test_a_failure_that_nobody_signed_steers_nothing(environment: Environment, store: Store) -> None:
    newest, older = put(store, NEWEST), put(store, NEWEST - timedelta(hours=25))
    day_before = NEWEST - timedelta(hours=24)
    good = put(store, day_before, result(day_before, NOW, failed=True, signer=None))
    run(environment, store)
    assert names(store) == [good, newest]
    assert older not in str(keys(store))


class Refusing(DirectoryStore):
    """A store in which an object lock protects some keys."""

    def __init__(self, store: DirectoryStore, locked: str) -> None:
        super().__init__(store.url, store.root)
        self.locked = locked

    def delete(self, keys: Iterable[str]) -> Sequence[NotDeleted]:
        refused: list[NotDeleted] = []

        def unlocked() -> Iterator[str]:
            for key in keys:
                if key.endswith(self.locked):
                    refused.append(NotDeleted(key, "AccessDenied: Object is WORM protected"))
                else:
                    yield key

        return [*super().delete(unlocked()), *refused]


def test_a_part_that_cannot_be_removed_fails_the_run_after_all_others_are_removed(
    environment: Environment, store: DirectoryStore
) -> None:
    days = daily(NEWEST, 4)
    for at in days:
        put(store, at)
    record = run(environment, Refusing(store, f"{set_id(days[3])}/data-1.0"))
    assert record.outcome is Outcome.FAILED
    assert record.sentence.startswith("could not remove 1 key: try/backups/shop/")
    assert "AccessDenied: Object is WORM protected; removed 2 of 4 sets" in record.sentence
    assert keys(store)[0] == f"try/backups/shop/{set_id(days[3])}/data-1.0"
    assert len(keys(store)) == 2 * 6 + 1


def test_a_set_whose_manifest_cannot_be_removed_keeps_its_parts(
    environment: Environment, store: DirectoryStore
) -> None:
    days = daily(NEWEST, 4)
    for at in days:
        put(store, at)
    record = run(environment, Refusing(store, f"{set_id(days[2])}/manifest.json"))
    assert record.outcome is Outcome.FAILED
    assert record.figures["removed_sets"] == 1
    assert names(store) == [set_id(at) for at in (days[2], days[1], days[0])]
    assert len(keys(store)) == 3 * 6 - 1  # all but its marker


class Dying(DirectoryStore):
    """A store whose client dies after `lives` removals."""

    def __init__(self, store: DirectoryStore, lives: int) -> None:
        super().__init__(store.url, store.root)
        self.lives = lives

    def _remove(self, key: str) -> None:
        if key.startswith("try/backups/"):
            if not self.lives:
                raise MemoryError
            self.lives -= 1
        super()._remove(key)


@pytest.mark.parametrize("lives", [0, 1, 2, 5, 9])
def test_a_crash_at_any_point_and_a_second_run_reach_the_same_end(
    environment: Environment, store: DirectoryStore, lives: int
) -> None:
    days = daily(NEWEST, 4)
    for at in days:
        put(store, at, "tags/x")
    assert run(environment, Dying(store, lives)).outcome is (Outcome.FAILED)
    for each in stored_sets(store):
        assert not each.complete or each.size == 15
        assert not each.lost_manifest
    assert run(environment, store).outcome is Outcome.DONE
    assert names(store) == [set_id(days[1]), set_id(days[0])]
    assert len(keys(store)) == 2 * 7


def test_leftovers_of_dead_runs_are_removed_after_a_day(environment: Environment, store: Store) -> None:
    put(store, NEWEST)
    dead = put(store, NOW - timedelta(hours=25), complete=False)
    young = put(store, NOW - timedelta(hours=23), complete=False)
    record = run(environment, store)
    assert record.sentence == "removed 0 of 1 set, 0 B; left by failed runs: 1 incomplete set, 0 open uploads, 15 B"
    assert {key.split("/")[3] for key in keys(store)} == {set_id(NEWEST), young}
    assert dead not in str(keys(store))


def test_open_uploads_of_dead_runs_are_aborted(environment: Environment, store: DirectoryStore) -> None:
    put(store, NEWEST)
    upload = store.upload(f"try/backups/shop/{set_id(NOW)}/data-1")
    upload.write(b"x")
    tomorrow = datetime.now(UTC) + timedelta(hours=23, minutes=59)
    assert plan_prune(store, environment, "shop", tomorrow).abandoned_uploads == ()
    (found,) = plan_prune(store, environment, "shop", tomorrow + timedelta(minutes=2)).abandoned_uploads
    run_job(
        RETENTION,
        environment,
        store,
        Options(only=("shop",)),
        now=lambda: tomorrow + timedelta(minutes=2),
        timeouts=QUICK,
    )
    assert "data-1" in found.key
    assert list(store.open_uploads()) == []


def held(**more: object) -> Holder:
    holder = Holder("run", "host", 1, NOW - timedelta(days=3), 60.0, renewed=NOW - timedelta(seconds=10))
    return replace(holder, **more)


@pytest.mark.parametrize(
    ("hours", "holder", "expected"),
    [
        (25, None, True),
        (23, None, False),
        (25, held(), False),
        (25, held(released=NOW), True),
        (25, held(renewed=NOW - timedelta(hours=25)), True),
        (25, held(renewed=NOW - timedelta(hours=23)), False),
        (24 * 4 + 1, held(), True),
        (24 * 3 + 1, held(), False),
    ],
)
def test_nothing_of_a_live_run_is_abandoned(hours: int, holder: Holder | None, expected: bool) -> None:
    assert is_abandoned(NOW - timedelta(hours=hours), holder, NOW) is expected


@pytest.mark.parametrize(("holder", "expected"), [(held(), False), (held(released=NOW), True)])
def test_a_live_copy_goes_on_with_what_an_earlier_one_left(holder: Holder, expected: bool) -> None:
    assert is_abandoned(NOW - timedelta(days=30), holder, NOW, goes_on=True) is expected


def test_a_pinned_incomplete_set_is_kept(environment: Environment, store: Store) -> None:
    put(store, NEWEST)
    put(store, NOW - timedelta(days=9), "pin", complete=False)
    assert plan_prune(store, environment, "shop", NOW).abandoned_sets == ()


def test_an_incomplete_set_is_kept_while_the_lock_is_held(environment: Environment, store: Store) -> None:
    put(store, NEWEST)
    put(store, NOW - timedelta(days=2), complete=False)
    store.put(LOCK, holder_to(held()))
    assert plan_prune(store, environment, "shop", NOW).abandoned_sets == ()


class BackupEndsMeanwhile(DirectoryStore):
    """A store in which a two-day backup ends just after the listing."""

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        yield from tuple(super().list(prefix, start_after, limit))
        self.put(LOCK, holder_to(held(released=NOW)))


def test_a_long_backup_that_ends_during_the_listing_is_not_abandoned(
    environment: Environment, store: DirectoryStore
) -> None:
    put(store, NEWEST)
    put(store, NOW - timedelta(days=2), complete=False)
    store.put(LOCK, holder_to(held()))
    assert plan_prune(BackupEndsMeanwhile(store.url, store.root), environment, "shop", NOW).abandoned_sets == ()


def test_the_databases_of_a_server_are_those_with_sets(environment: Environment, tmp_path: Path) -> None:
    assert environment.store
    store = open_store(environment.store)
    store.prepare()
    for database in ("main.crm", "main.gone%20db", "shop", "mainly", "other.crm"):
        put(store, NEWEST, database=database)
    put(store, NEWEST, database="main.planted", signer=None)
    assert subjects(environment, store, Options()) == ["shop", "main.crm", "main.gone%20db"]
    assert subjects(environment, store, Options(only=("main",))) == ["main.crm", "main.gone%20db"]
    assert subjects(environment, store, Options(scheduled=True)) == ["main.crm", "main.gone%20db"]
    assert subjects(environment, store, Options(only=("main.crm",))) == ["main.crm"]
    with pytest.raises(UnknownName, match=r"main\.cmr has no backup sets; .* with sets: main\.crm; main\.gone%20db"):
        subjects(environment, store, Options(only=("main.cmr",)))


def test_the_figures_of_the_record(environment: Environment, store: Store) -> None:
    put(store, NEWEST)
    assert json.dumps(dict(run(environment, store).figures)) == json.dumps(
        {"removed_sets": 0, "removed_bytes": 0, "kept_sets": 1, "kept_bytes": 15, "swept": 0, "not_removed": 0}
    )
