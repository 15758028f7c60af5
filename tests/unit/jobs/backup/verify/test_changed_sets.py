"""A verification says so if a verified set was changed since, and signs nothing about a set that is not trusted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import Environment, Repository
from jobs.backup.sets.sets import Set, find_sets
from jobs.backup.verify.job import VERIFY
from jobs.backup.verify.verify import save_result
from jobs.run import Options, Outcome, run_job
from jobs.store import Store
from tests.parts.runs import QUICK, store_in
from tests.parts.sets import put, result
from tests.parts.signing import PUBLIC_LINES, RESULT_SIGNER, write_signing_keys

NOW = datetime.now(UTC).replace(microsecond=0)
NEWEST = NOW - timedelta(hours=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    _, verify_key = write_signing_keys(tmp_path)
    (tmp_path / "try.toml").write_text(
        f'[environment]\nname = "try"\n[store]\nurl = "file://{tmp_path}/store"\nencrypt_to = "nobody"\n'
        f'trust = {PUBLIC_LINES}\n[verify]\nsign_with = {{ file = "{verify_key}" }}\n'
        '[databases.shop]\nurl = "postgresql://nobody@127.0.0.1:1/shop"\n'
    )
    return Repository.find(tmp_path).read("try")


def newest(store: Store, environment: Environment) -> Set:
    return list(find_sets(store, environment, "shop"))[-1]


@pytest.mark.parametrize(
    ("name", "fault"),
    [("manifest.json", "was changed after it was signed"), ("manifest.json.sig", "was changed"), ("rest.0", "damaged")],
)
def test_a_verified_set_that_was_changed_since_fails(
    store: Store, environment: Environment, name: str, fault: str
) -> None:
    older = NEWEST - timedelta(days=1)
    for at in (older, NEWEST):
        put(store, at, result(at, NOW - timedelta(hours=1)))
    assert newest(store, environment).is_verified
    store.put(newest(store, environment).prefix + name, b"{}")
    (record,) = run_job(VERIFY, environment, store, Options(only=("shop",)), timeouts=QUICK)
    assert (record.outcome, fault in record.sentence) == (Outcome.FAILED, True), record
    assert "--trust-unsigned" not in record.sentence
    assert newest(store, environment).has_failed


def test_if_all_sets_are_verified_and_whole_nothing_is_done(store: Store, environment: Environment) -> None:
    put(store, NEWEST, result(NEWEST, NOW - timedelta(hours=1)))
    (record,) = run_job(VERIFY, environment, store, Options(only=("shop",)), timeouts=QUICK)
    assert (record.outcome, record.sentence) == (Outcome.DONE, "1 set is verified already")


def test_no_signature_says_that_an_untrusted_set_passed(store: Store, environment: Environment) -> None:
    put(store, NEWEST, signer=None)
    save_result(store, newest(store, environment), b"", NOW, failed=False, signer=RESULT_SIGNER)
    [saved] = newest(store, environment).results
    assert saved.name.count("-") == 2, "without a signature"
    assert not newest(store, environment).is_verified
