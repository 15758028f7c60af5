"""Kept plans: sealed, found by their ID, and refused if the store was changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from inventories import Environment, Secret
from jobs.run import unrecorded_run
from jobs.run.context import RunContext
from jobs.stacks import kept_plans
from jobs.stacks.kept_plans import KEPT, KeptPlan, keep_plan, keep_plans, plan_recipients, read_kept_plans, unpack_plan
from terraform.errors import ChangeRefused, StackError
from tests.parts.runs import environment, store_in

COMMIT = "1a2b3c4d" + "5e6f" + "0" * 28
KEY = pyrage.x25519.Identity.generate()
SECRET = b"hush-hush-42"


def sealed(tmp_path: Path, *, with_key: bool) -> Environment:
    plain, file = environment(), tmp_path / "key"
    file.write_text(str(KEY))
    file.chmod(0o600)
    terraform = replace(
        plain.terraform,
        encrypt_plans_to=(str(KEY.to_public()),),
        decrypt_plans_with=Secret(file=file) if with_key else None,
    )
    return replace(plain, terraform=terraform)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunContext]:
    with unrecorded_run(sealed(tmp_path, with_key=True), store_in(tmp_path), "stacks", "staging") as made:
        yield made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory with a plan as `plan --save` writes it."""
    folder = tmp_path / "plans"
    folder.mkdir()
    (folder / "network.tfplan").write_bytes(b"PK\n\n" + SECRET)
    (folder / "network.json").write_text('{"format": 1}')
    return folder


def test_a_plan_is_sealed_and_read_back(run: RunContext, saved: Path, tmp_path: Path) -> None:
    plan = keep_plan(run, "network", saved, COMMIT, 7)
    identifier = keep_plans(run, COMMIT, {"network": plan, "cluster": KeptPlan(waits_for="network")})
    assert identifier.startswith("1a2b3c4d5e6f-")
    assert plan.name.startswith("1a2b3c4d5e6f.7.")
    assert [key for key in run.store.list("staging/") if SECRET in run.store.get(key.key).body] == []
    kept = read_kept_plans(run, identifier)
    assert (kept.commit, kept.stacks) == (COMMIT, {"network": plan, "cluster": KeptPlan(waits_for="network")})
    made = tmp_path / "made"
    made.mkdir()
    unpack_plan(run, "network", plan, made)
    for name in ("network.tfplan", "network.json"):
        assert (made / name).read_bytes() == (saved / name).read_bytes()
        assert (made / name).stat().st_mode & 0o777 == 0o600


def test_a_changed_store_is_noticed(run: RunContext, saved: Path, tmp_path: Path) -> None:
    plan, other = keep_plan(run, "network", saved, COMMIT, 7), b"another plan"
    identifier = keep_plans(run, COMMIT, {"network": plan})
    run.store.put(f"staging/plans/network/{plan.name}", other)
    with pytest.raises(ChangeRefused, match="staging/network: the kept plan was changed in the store; plan again"):
        unpack_plan(run, "network", plan, tmp_path)
    run.store.delete([f"staging/plans/network/{plan.name}"])
    with pytest.raises(ChangeRefused, match="the kept plan is no longer in the store"):
        unpack_plan(run, "network", plan, tmp_path)
    document = f"staging/plans/{identifier}.json"
    run.store.put(document, run.store.get(document).body.replace(b"7", b"8"))
    with pytest.raises(ChangeRefused, match="was changed in the store"):
        read_kept_plans(run, identifier)


@pytest.mark.parametrize("identifier", ["latest", "../state/x", "1a2b3c4d5e6f-00", ""])
def test_other_texts_are_no_id(run: RunContext, identifier: str) -> None:
    with pytest.raises(ChangeRefused, match="is not an ID of kept plans; crew stacks plan staging --keep prints one"):
        read_kept_plans(run, identifier)


def test_the_error_on_an_unknown_id_suggests_none_from_the_store(run: RunContext) -> None:
    identifier = keep_plans(run, COMMIT, {})
    unknown = f"{identifier[:13]}{'0' * 24}"
    with pytest.raises(ChangeRefused, match=rf"the store has no kept plans {unknown}; plan again") as refused:
        read_kept_plans(run, unknown)
    assert identifier not in str(refused.value), "a bucket writer can keep plans of their own there"


def test_without_a_key_the_error_names_the_setting(tmp_path: Path, saved: Path) -> None:
    with unrecorded_run(sealed(tmp_path, with_key=False), store_in(tmp_path), "stacks", "staging") as run:
        plan = keep_plan(run, "network", saved, COMMIT, 7)
        with pytest.raises(StackError, match=r"staging.toml has no key; set decrypt_plans_with"):
            unpack_plan(run, "network", plan, tmp_path)


def test_only_the_newest_plans_stay(run: RunContext, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_plans, "KEPT", 3)
    assert KEPT > 3
    for serial in range(5):
        keep_plans(run, COMMIT, {"network": keep_plan(run, "network", saved, COMMIT, serial)})
    keys = [entry.key for entry in run.store.list("staging/plans/")]
    assert len([key for key in keys if key.endswith(".json")]) == 3
    assert sorted(int(key.split("/")[-1].split(".")[1]) for key in keys if "network/" in key) == [2, 3, 4]


def test_a_plan_is_kept_in_clear_only_if_the_file_says_so() -> None:
    plain = environment()
    assert plain.store
    assert plain.store.encrypt_to == ()
    with pytest.raises(StackError, match=r"kept plans contain secrets, .* set encrypt_plans_to"):
        plan_recipients(plain)
    assert plan_recipients(replace(plain, terraform=replace(plain.terraform, encrypt_plans_to=()))) == ()
    assert plan_recipients(replace(plain, store=replace(plain.store, encrypt_to=("age1x",)))) == ("age1x",)
