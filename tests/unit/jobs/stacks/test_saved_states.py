"""Saved states: the newest stay in the store, older ones are removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobs.run import unrecorded_run
from jobs.stacks.saved_states import STATES_KEPT, save_state
from tests.parts.runs import environment, store_in

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)


def test_only_the_newest_states_are_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with unrecorded_run(environment(), store, "stacks", "network") as run:
        keys = [save_state(run, "network", "{}", NOW + timedelta(hours=hour)) for hour in range(STATES_KEPT + 2)]
    assert [entry.key for entry in store.list("staging/state/network/")] == keys[2:]
