import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.restore.compare import Difference
from jobs.backup.sets.description import SequenceValue, TableRows
from jobs.backup.sets.sets import Set
from jobs.backup.verify.verify import Verification, newest_unverified, verification_result
from jobs.run.job import Outcome
from tests.parts.sets import listed
from tests.parts.signing import TRUST
from tests.unit.jobs.backup.sets.test_description import DESCRIPTION
from tests.unit.jobs.backup.sets.test_manifest import MANIFEST

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
WITH_ROWS = replace(
    DESCRIPTION,
    tables=(TableRows("public", "orders", 4000, 1), TableRows("public", "customers", 500, 1)),
    sequences=(SequenceValue("public", "orders_id_seq", 4000),),
)


def backup_set(days_old: int, *, complete: bool = True, verified: bool = False) -> Set:
    started = NOW - timedelta(days=days_old)
    return listed(started, complete=complete, verified=NOW if verified else None)


def verification(*differences: Difference, notes: tuple[str, ...] = ()) -> Verification:
    where = "PostgreSQL 16.4 on this machine"
    return Verification(MANIFEST, WITH_ROWS, NOW, "r2", 16, where, 1.25, differences, notes)


@pytest.mark.parametrize(
    ("sets", "chosen"),
    [
        ([backup_set(2), backup_set(1)], backup_set(1)),
        ([backup_set(2), backup_set(1, verified=True)], backup_set(2)),
        ([backup_set(2), backup_set(1, complete=False)], backup_set(2)),
        ([backup_set(1, verified=True)], None),
        ([backup_set(2), replace(backup_set(1), trust=TRUST)], backup_set(2)),
    ],
)
def test_chooses_the_newest_unverified_set(sets: list[Set], chosen: Set | None) -> None:
    assert newest_unverified(sets, "shop") == chosen


def test_refuses_to_verify_a_database_without_complete_sets() -> None:
    with pytest.raises(BackupError, match="no complete backup set"):
        newest_unverified([backup_set(1, complete=False)], "shop")


def test_refuses_to_verify_a_database_without_trusted_sets() -> None:
    with pytest.raises(BackupError, match=r"shop has no set that is trusted; set .*: it is not signed"):
        newest_unverified([replace(backup_set(1), trust=TRUST)], "shop")


def test_the_result_of_a_verified_set_names_its_tables_and_rows() -> None:
    result = verification_result(verification(notes=("restored with locale C",)))
    assert result.outcome is Outcome.DONE
    assert result.sentence == (
        f"set {MANIFEST.set} is verified: restored in 1.2 s into PostgreSQL 16.4 on this machine, "
        "2 tables, 4,500 rows; restored with locale C"
    )
    assert result.figures == {"set": MANIFEST.set, "tables": 2, "seconds": 1.25, "differences": 0, "rows": 4500}


def test_the_result_of_a_failed_verification_lists_five_differences() -> None:
    failed = verification(*(Difference("table", f"public.t{number}", 2, 1) for number in range(7)))
    result = verification_result(failed)
    assert result.outcome is Outcome.FINDING
    assert result.sentence.startswith(
        f"set {MANIFEST.set} differs from its manifest: table public.t0: 2 rows expected, 1 rows found; "
    )
    assert result.sentence.endswith("table public.t4: 2 rows expected, 1 rows found; and 2 more")
    assert result.figures["differences"] == 7
    assert result.details is failed


def test_the_stored_result_names_nothing_of_the_database() -> None:
    body = json.loads(verification(Difference("table", "public.orders", 4000, 3999)).as_json())
    assert body["against"] == {"major": 16, "where": "PostgreSQL 16.4 on this machine"}
    assert body["differences"] == 1
    assert "orders" not in str(body)
