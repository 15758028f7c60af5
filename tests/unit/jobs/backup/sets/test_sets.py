import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobs.backup.sets.results import precise_timestamp, result_name
from jobs.backup.sets.sets import Set, new_set_id, set_prefix, set_timestamp, sets_from_listing
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE, VERIFICATION_NAMESPACE, SigningKey, new_signing_key
from jobs.backup.sets.trust import TRUST_ALL, Trust, sign_name
from jobs.store import ListedKey
from tests.parts.signing import KEYS, RESULT_SIGNER, SET_SIGNER, TRUST

AT = datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)
ONE, TWO = "20261121T020000Z-3f9a", "20261122T020000Z-0001"


ENDED, HASH = "20261121T020130.500Z", "0" * 64
MARK = f"ended/{ENDED}-age-{HASH}"


def listing(*lines: tuple[str, int]) -> list[ListedKey]:
    return [ListedKey(f"prod/backups/{key}", size, AT + timedelta(minutes=4), "v") for key, size in sorted(lines)]


def sets_in(*lines: tuple[str, int], trust: Trust = TRUST_ALL) -> list[Set]:
    return list(sets_from_listing("prod", listing(*lines), trust))


def signed(name: str, signer: SigningKey = SET_SIGNER, namespace: str = MANIFEST_NAMESPACE, about: str = "") -> str:
    """Return the key of an object of set ONE, with a signature."""
    return sign_name(f"prod/backups/shop/{ONE}/{name}", signer, namespace, about).removeprefix("prod/backups/")


def one(*names: str, trust: Trust = TRUST) -> Set:
    """Return set ONE with a manifest, its signature, and these keys."""
    basis = [f"shop/{ONE}/manifest.json", f"shop/{ONE}/manifest.json.sig"]
    [backup_set] = sets_in(*((name, 0) for name in (*basis, *names)), trust=trust)
    return backup_set


def outcome(time: str, *, failed: bool, signer: SigningKey = RESULT_SIGNER) -> str:
    """Return the key of a result of set ONE, with a signature."""
    at = datetime.fromisoformat(time).replace(tzinfo=UTC)
    return signed(result_name(at, b"", failed=failed), signer, VERIFICATION_NAMESPACE, HASH)


def test_a_set_id_has_its_start_time_in_utc() -> None:
    set_id = new_set_id(AT.astimezone(timezone(timedelta(hours=5))))
    assert re.fullmatch(r"20261121T020000Z-[0-9a-f]{4}", set_id)
    assert set_timestamp(set_id) == AT
    assert set_timestamp("lost+found") is set_timestamp("20261121T020000Z-3F9A") is None


def test_what_an_earlier_try_left_does_not_count_for_the_size() -> None:
    [backup_set] = sets_in(
        (f"shop/{ONE}/defs.0", 1),
        (f"shop/{ONE}/rest.0", 10),
        (f"shop/{ONE}/rest.10000", 100),
        (f"shop/{ONE}/rest.20000", 1000),
        (f"shop/{ONE}/rest.20001", 10_000),
    )
    assert backup_set.size == 11_001


def test_a_set_is_read_from_its_keys() -> None:
    [backup_set] = sets_in(
        (f"shop/{ONE}/defs.0", 10),
        (f"shop/{ONE}/data-1.0", 100),
        (f"shop/{ONE}/data-1.1", 50),
        (f"shop/{ONE}/tags/pre-migration", 0),
        (f"shop/{ONE}/tags/v1.2", 0),
        (f"shop/{ONE}/pin", 2),
        (f"shop/{ONE}/{result_name(AT, b'', failed=False)}", 300),
        (f"shop/{ONE}/manifest.json", 3000),
    )
    assert backup_set.complete
    assert backup_set.pinned
    assert backup_set.tags == ("pre-migration", "v1.2")
    assert backup_set.size == 160
    assert backup_set.duration == timedelta(minutes=4)
    assert backup_set.verified == AT
    assert backup_set.failed_verification is None
    assert backup_set.prefix == set_prefix("prod", "shop", ONE) == f"prod/backups/shop/{ONE}/"


def test_times_come_from_names_and_not_from_the_objects() -> None:
    failed, passed = outcome("2026-11-21T03:00", failed=True), outcome("2026-11-21T04:00", failed=False)
    backup_set = one(signed(MARK), failed)
    assert backup_set.duration == timedelta(seconds=90.5)
    assert (backup_set.verified, backup_set.failed_verification) == (None, AT.replace(hour=3))
    assert backup_set.has_failed
    backup_set = one(signed(MARK), failed, passed)
    assert (backup_set.verified, backup_set.failed_verification) == (AT.replace(hour=4), None)


STRANGER = SigningKey(new_signing_key()[0])


@pytest.mark.parametrize(
    ("marker", "fault"),
    [
        (signed(MARK), None),
        (f"shop/{ONE}/{MARK}", "it is not signed"),
        (f"shop/{ONE}/{MARK}-{'ab' * 64}", "it is not signed by a key in trust"),
        (signed(MARK, STRANGER), "it is not signed by a key in trust"),
        (signed(MARK, RESULT_SIGNER), "it is not signed by a key in trust"),
        (signed(MARK, SET_SIGNER, VERIFICATION_NAMESPACE), "it is not signed by a key in trust"),
        (signed(MARK).replace("age", "plain"), "it is not signed by a key in trust"),
        (signed(MARK).replace("T0201", "T0202"), "it is not signed by a key in trust"),
        (sign_name(f"prod/backups/shop/{TWO}/{MARK}", SET_SIGNER, MANIFEST_NAMESPACE).removeprefix("prod/backups/")
         .replace(TWO, ONE), "it is not signed by a key in trust"),
        (sign_name(f"dev/backups/shop/{ONE}/{MARK}", SET_SIGNER, MANIFEST_NAMESPACE).removeprefix("dev/backups/"),
         "it is not signed by a key in trust"),
        (sign_name(f"prod/backups/crm/{ONE}/{MARK}", SET_SIGNER, MANIFEST_NAMESPACE).removeprefix("prod/backups/")
         .replace("crm", "shop"), "it is not signed by a key in trust"),
    ],
    ids=["signed", "unsigned", "random", "stranger", "result key", "result namespace", "encryption", "time", "set",
         "environment", "database"],
)  # fmt: skip
def test_a_set_is_trusted_only_if_a_trusted_key_signed_its_marker(marker: str, fault: str | None) -> None:
    assert one(marker).untrusted == fault


def test_another_marker_beside_the_signed_one_changes_nothing() -> None:
    forged = [f"shop/{ONE}/ended/20261121T020130.{number:03}Z-plain-{HASH}-{'ab' * 64}" for number in range(50)]
    assert one(signed(MARK), *forged).untrusted is None
    assert one(*forged).untrusted == "it is not signed by a key in trust"


def test_a_set_in_clear_is_not_trusted_where_sets_must_be_encrypted() -> None:
    plain = signed(MARK.replace("age", "plain"))
    assert one(plain).untrusted is None
    trust = Trust((), required=False, encrypted=True)
    assert one(plain, trust=trust).untrusted == "it is not encrypted, although encrypt_to names keys"
    assert one(signed(MARK), trust=trust).untrusted is None


def test_a_result_that_nobody_signed_changes_nothing() -> None:
    failed, passed = outcome("2026-11-21T03:00", failed=True), outcome("2026-11-21T04:00", failed=False)
    forged_pass = outcome("2026-11-21T05:00", failed=False, signer=STRANGER)
    forged_failure = outcome("2026-11-21T06:00", failed=True, signer=SET_SIGNER)
    assert not one(signed(MARK), forged_failure).has_failed
    assert not one(signed(MARK), forged_pass).is_verified
    assert one(signed(MARK), failed, forged_pass).has_failed
    backup_set = one(signed(MARK), passed, forged_failure)
    assert backup_set.verified == AT.replace(hour=4)
    assert [backup_set.trusts_result(each) for each in backup_set.results] == [False, True]


def test_a_result_counts_only_for_the_manifest_that_it_is_about() -> None:
    name = result_name(AT, b"", failed=False)
    for about in ("", "1" * 64):
        assert not one(signed(MARK), signed(name, RESULT_SIGNER, VERIFICATION_NAMESPACE, about)).is_verified
    assert one(signed(MARK), signed(name, RESULT_SIGNER, VERIFICATION_NAMESPACE, HASH)).is_verified


def test_of_thousands_of_planted_markers_and_results_few_are_checked() -> None:
    trust, later = Trust(KEYS), [AT + timedelta(seconds=second) for second in range(5000)]
    markers = [f"shop/{ONE}/ended/{precise_timestamp(at)}-age-{HASH}-{'0' * 128}" for at in later]
    results = [f"shop/{ONE}/{result_name(at, b'', failed=True)}-{'0' * 128}" for at in later]
    backup_set = one(*markers, *results, trust=trust)
    assert backup_set.untrusted == "it has 5,000 markers instead of one"
    assert not backup_set.has_failed
    assert len(backup_set.results) == 100
    assert len(trust._checked) <= 200


def test_a_signed_set_without_its_signature_is_not_complete() -> None:
    [cut] = sets_in((f"shop/{ONE}/manifest.json", 0), (signed(MARK), 0), trust=TRUST)
    assert not cut.complete


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
