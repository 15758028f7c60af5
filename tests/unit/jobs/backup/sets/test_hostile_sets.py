"""Whatever somebody without a key writes into the bucket: our own set is restored as it was, or nothing is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventories import CrewError, Secret
from jobs.backup.sets.choose_set import choose_set
from jobs.backup.sets.manifest import PartKind
from jobs.backup.sets.sets import sets_from_listing
from jobs.backup.sets.signatures import SigningKey, new_signing_key
from jobs.backup.sets.stored import open_set, read_part
from jobs.backup.sets.trust import Trust
from jobs.store import DOCUMENT_LIMIT, ListedKey, Missing, StoredObject
from jobs.store.directory import DirectoryStore
from tests.parts.examples import examples
from tests.parts.hostile import changed_bytes, hostile
from tests.parts.runs import store_in
from tests.parts.signed_sets import IDENTITY, write_set
from tests.parts.signing import KEYS, SET_SIGNER

AT = datetime(2026, 11, 28, 2, tzinfo=UTC)
NOW = AT + timedelta(days=1)
TRUST = Trust(KEYS)
DECRYPT = Secret(literal=str(IDENTITY))
STRANGER = SigningKey(new_signing_key()[0])
MANY = pytest.param(5000, marks=pytest.mark.release)

Objects = dict[str, bytes]


class MemoryStore(DirectoryStore):
    """A store with these objects, for reading."""

    def __init__(self, objects: Objects) -> None:
        super().__init__("file:///nowhere", Path("/nowhere"))
        self._objects = objects

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        keys = sorted(key for key in self._objects if key.startswith(prefix) and key > start_after)
        return iter([ListedKey(key, len(self._objects[key]), AT, "v") for key in keys[:limit]])

    def get(self, key: str, limit: int = DOCUMENT_LIMIT) -> StoredObject:
        if key not in self._objects:
            raise Missing(key)
        assert len(self._objects[key]) <= limit
        return StoredObject(self._objects[key], "v")

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        yield self.get(key).body[start:end]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """The objects of a set of our own."""
    return written(tmp_path_factory.mktemp("ours"), SET_SIGNER, AT, b"the rows")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """The objects of a newer set, which is encrypted to our public key and signed by a stranger."""
    return written(tmp_path_factory.mktemp("planted"), STRANGER, AT + timedelta(hours=1), b"DROP TABLE orders")


def written(folder: Path, signer: SigningKey, at: datetime, content: bytes) -> Objects:
    store = store_in(folder / "store")
    write_set(store, signer, at, content=content)
    return {entry.key: store.get(entry.key).body for entry in store.list("staging/")}


def restore(objects: Objects, *, trust_unsigned: bool = False) -> list[bytes]:
    """Choose a set, open it and read each of its parts, as a restore does."""
    store = MemoryStore(objects)
    sets = list(sets_from_listing("staging", store.list("staging/backups/"), TRUST, NOW))
    chosen = choose_set(sets, "shop", now=NOW, any_complete=trust_unsigned)
    stored = open_set(store, chosen, DECRYPT, trust_unsigned=trust_unsigned)
    contents = []
    for part in stored.parts(*PartKind):
        body = BytesIO()
        read_part(stored, part, body)
        contents.append(body.getvalue())
    assert stored.description
    return contents


def attacked(objects: Objects, planted: Objects, random: Random) -> Objects:
    """Return the objects after an attack on one of them."""
    changed = dict(objects)
    key = random.choice(sorted(objects))
    name, body = key.rpartition("/")[2], objects[key]
    attack = random.choice(("change", "change", "rename", "delete", "swap", "plant"))
    if attack == "change" and name == "manifest.json":
        changed[key] = hostile(body, random.getrandbits(32))
    elif attack == "change":
        changed[key] = changed_bytes(body, random)
    elif attack == "rename":
        text = changed_bytes(name.encode(), random).decode(errors="replace").replace("/", "").replace("\0", "")
        changed[f"{key.rpartition('/')[0]}/{text or 'x'}"] = changed.pop(key)
    elif attack == "delete":
        del changed[key]
    elif attack == "swap":  # by the object of the same kind in the planted set
        theirs = next((their for their in planted if their.rpartition("/")[2] == name), None)
        changed[key] = planted[theirs] if theirs else b""
    else:
        changed |= planted
    return changed


def test_our_set_is_restored_also_beside_a_planted_one(ours: Objects, planted: Objects) -> None:
    intact = restore(ours)
    assert b"the rows" in intact
    assert restore({**ours, **planted}) == intact
    with pytest.raises(CrewError, match=r"no set can be used; set .* is not trusted"):
        restore(planted)
    assert b"DROP TABLE orders" in restore(planted, trust_unsigned=True)


@pytest.mark.parametrize("cases", [1000, MANY])
def test_an_attacked_set_is_restored_as_it_was_or_not_at_all(ours: Objects, planted: Objects, cases: int) -> None:
    intact = restore(ours)

    @examples(cases, database=None)
    @given(st.integers(0, 2**32))
    def attack(seed: int) -> None:
        objects = attacked(ours, planted, Random(seed))
        with suppress(CrewError):
            assert restore(objects) == intact
        with suppress(CrewError):
            restore(objects, trust_unsigned=True)  # of a set that a person trusts, anything but a traceback

    attack()
