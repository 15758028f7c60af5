"""Saved states: the newest stay in the store, older ones are removed. They can be listed and read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest
import zstandard

from jobs.backup import UnreadableSet
from jobs.run import unrecorded_run
from jobs.stacks.saved_states import STATES_KEPT, read_state, save_state, saved_states
from terraform.errors import StackError
from tests.parts.runs import environment, store_in

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)


def test_only_the_newest_states_are_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with unrecorded_run(environment(), store, "stacks", "network") as run:
        for hour in range(STATES_KEPT + 2):
            save_state(run, "network", "{}", before="apply", now=NOW + timedelta(hours=hour))
        states = saved_states(run, "network")
    assert [state.saved for state in states] == [NOW + timedelta(hours=hour) for hour in range(STATES_KEPT + 1, 1, -1)]


def test_a_list_needs_no_key_to_decrypt(tmp_path: Path) -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    plain, store = environment(), store_in(tmp_path)
    assert plain.store
    settings = replace(plain, store=replace(plain.store, encrypt_to=(recipient,)))
    store.create("staging/state/network/20261120T020000000000Z.tfstate.zst", b"of an older groundcrew")
    store.create("staging/state/network/notes.txt", b"")
    with unrecorded_run(settings, store, "stacks", "network") as run:
        identifier = save_state(run, "network", '{"serial": 7, "lineage": "l"}', before="destroy", now=NOW)
        states = saved_states(run, "network")
        with pytest.raises(StackError, match="no key to decrypt it; set decrypt_with"):
            read_state(run, "network", identifier)
        with pytest.raises(StackError, match="no state with the ID 2026 is saved"):
            read_state(run, "network", "2026")
    found = [(state.id, state.serial, state.before, state.is_encrypted) for state in states]
    assert found == [("20261121T020000000000Z", 7, "destroy", True), ("20261120T020000000000Z", None, None, False)]


def test_a_saved_state_is_read_back(tmp_path: Path) -> None:
    with unrecorded_run(environment(), store_in(tmp_path), "stacks", "network") as run:
        identifier = save_state(run, "network", '{"serial": 7}', before="apply")
        assert read_state(run, "network", identifier) == '{"serial": 7}'


@pytest.mark.parametrize(
    "planted",
    [
        *(b"", b"x", b"[]", b"\xff", b'{"serial": "7"}', b'{"lineage": 1}', b'{"resources": 1}', b"[" * 100_000),
        *(b'{"resources": [1]}', b'{"outputs": []}', b'{"outputs": {"a": 1}}', b'{"resources": [{"instances": "x"}]}'),
    ],
)
def test_a_damaged_state_is_an_error(tmp_path: Path, planted: bytes) -> None:
    store = store_in(tmp_path)
    store.create("staging/state/network/99999999T999999999999Z.tfstate.zst", b"a key with an impossible time")
    store.create("staging/state/network/20261120T020000000000Z.tfstate.zst", zstandard.compress(planted))
    with unrecorded_run(environment(), store, "stacks", "network") as run:
        assert len(saved_states(run, "network")) == 1
        if planted in (b"", b'{"outputs": []}'):
            read_state(run, "network", "20261120T020000000000Z")
        else:
            with pytest.raises((StackError, UnreadableSet)):
                read_state(run, "network", "20261120T020000000000Z")


def test_a_state_is_neither_planted_unencrypted_nor_unpacked_to_gigabytes(tmp_path: Path) -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    plain, store = environment(), store_in(tmp_path)
    assert plain.store
    settings = replace(plain, store=replace(plain.store, encrypt_to=(recipient,)))
    bomb = zstandard.compress(b"0" * (65 << 20))
    store.create("staging/state/network/20261120T020000000000Z.tfstate.zst", bomb)
    with unrecorded_run(settings, store, "stacks", "network") as run, pytest.raises(StackError, match="planted"):
        read_state(run, "network", "20261120T020000000000Z")
    with unrecorded_run(plain, store, "stacks", "network") as run, pytest.raises(UnreadableSet, match="unpacks to"):
        read_state(run, "network", "20261120T020000000000Z")
