"""Records of commands that take no lock."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.author import set_command
from jobs.run import Failed, Outcome, by_hand, records, unrecorded_run
from jobs.run.by_hand import DEAD_AFTER, outcome_now, read_record_now, recorded
from jobs.run.record import record_keys
from jobs.store import Denied, Store
from tests.parts.patience import until
from tests.parts.runs import environment, store_in

ENV = environment()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


def test_a_command_leaves_who_started_it_and_its_command_line_without_secrets(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    set_command(["backups", "restore", "staging", "shop", "--into", "postgresql://me:hunter2@db/shop"])
    with (
        unrecorded_run(ENV, store, "restore", "shop") as run,
        recorded(run, "restore", "shop", "into db/shop") as result,
    ):
        (begun,) = records(store, "staging")
        result.sentence = "restored into db/shop"
    (record,) = records(store, "staging")
    assert (begun.outcome, begun.run, record.run) == (Outcome.RUNNING, run.id, run.id), "the log names the same run"
    assert (record.outcome, record.sentence, record.user) == (Outcome.DONE, "restored into db/shop", "anna")
    assert record.command == "crew backups restore staging shop --into postgresql://me:***@db/shop"


def test_a_command_that_fails_says_why(store: Store) -> None:
    with (
        pytest.raises(Failed),
        unrecorded_run(ENV, store, "stacks", "network, shop") as run,
        recorded(run, "apply", "network", "2 to add", lasting=False),
    ):
        raise Failed("no rights")
    (record,) = records(store, "staging")
    assert record.run != run.id, "each stack has a record of its own"
    assert (record.outcome, record.sentence) == (Outcome.FAILED, "2 to add: no rights")


def test_a_store_that_cannot_be_written_stops_no_command(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise Denied("the key may only read")

    monkeypatch.setattr(store, "put", refuse)
    with unrecorded_run(ENV, store, "restore", "shop") as run, recorded(run, "restore", "shop", "into db/shop"):
        restored = True
    assert restored
    assert "run record not written" in "".join(run.tail.lines)


def test_a_command_whose_record_is_no_longer_renewed_has_died(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hand, "RENEWAL_SECONDS", 0.01)
    with unrecorded_run(ENV, store, "restore", "shop") as run, recorded(run, "restore", "shop", "into db/shop"):
        (begun,) = record_keys(store, "staging")
        until(lambda: next(record_keys(store, "staging")).modified > begun.modified)
        late = next(record_keys(store, "staging")).modified + DEAD_AFTER + timedelta(minutes=1)
        assert outcome_now(begun, begun.modified) is Outcome.RUNNING
        died = read_record_now(store, begun, late)
    assert died
    assert (died.outcome, died.ended) == (Outcome.DIED, begun.modified)
    assert died.sentence.startswith("into db/shop: on ")
