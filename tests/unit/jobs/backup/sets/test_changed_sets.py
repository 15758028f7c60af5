"""A signed set that somebody changed or emptied afterwards is not used, and an older one takes its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.backup.errors import Damaged, UnreadableSet, Untrusted
from jobs.backup.sets.choose_set import choose_set, chosen_and_older
from jobs.backup.sets.sets import Set, sets_from_listing
from jobs.backup.sets.stored import open_first, open_set
from jobs.store import Store
from tests.parts.runs import store_in
from tests.parts.sets import put
from tests.parts.signing import TRUST

AT = datetime(2026, 11, 21, 2, tzinfo=UTC)
NOW = AT + timedelta(hours=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


def sets(store: Store) -> list[Set]:
    return list(sets_from_listing("try", store.list("try/backups/"), TRUST, NOW))


CHANGES = [
    ("manifest.json", b"{}", "was changed after it was signed: its manifest differs"),
    ("manifest.json.sig", b"x", "was changed after it was signed: its signature is not in OpenSSH's format"),
    ("rest.0", None, "part rest .* is damaged: piece rest.0 is missing in the store"),
    ("defs.0", b"", "part defs .* is damaged: piece defs.0 has only 0 of its 5 bytes"),
]


@pytest.mark.parametrize(("name", "body", "fault"), CHANGES)
def test_an_older_set_is_used_instead_of_a_changed_one(store: Store, name: str, body: bytes | None, fault: str) -> None:
    older, newest = put(store, AT - timedelta(days=1)), put(store, AT)
    key = f"try/backups/shop/{newest}/{name}"
    store.delete([key])
    if body is not None:
        store.put(key, body)
    found = sets(store)
    chosen = choose_set(found, "shop", now=NOW)
    assert chosen.id == newest, "the listing cannot know"
    selected, stored, [warning] = open_first(store, chosen_and_older(found, chosen, NOW), None)
    assert (selected.id, stored.manifest.set) == (older, older)
    assert warning.startswith(f"set {older} is used instead of a newer one: ")
    with pytest.raises((Damaged, Untrusted), match=fault) as raised:
        open_first(store, [chosen], None)
    assert "--trust-unsigned" not in str(raised.value)


def test_a_person_who_names_a_changed_set_still_gets_it(store: Store) -> None:
    newest = put(store, AT)
    store.put(f"try/backups/shop/{newest}/manifest.json.sig", b"x")
    assert open_set(store, sets(store)[0], None, trust_unsigned=True).untrusted


def test_if_all_sets_were_changed_the_error_is_about_the_newest(store: Store) -> None:
    ids = [put(store, AT - timedelta(days=days)) for days in (1, 0)]
    store.delete([f"try/backups/shop/{each}/rest.0" for each in ids])
    with pytest.raises(UnreadableSet, match=f"set {ids[1]}"):
        open_first(store, reversed(sets(store)), None)
