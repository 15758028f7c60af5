from datetime import UTC, datetime, timedelta

import pytest

from jobs.backup.sets.results import VerificationResult, newest_result, parse_precise_timestamp, precise_timestamp

LATER = datetime(2026, 11, 21, 2, 0, 1, tzinfo=UTC)
AT = datetime(2026, 11, 21, 2, 0, 0, 345_000, tzinfo=UTC)
FAIL = "verifications/20261121T020000.345Z-failed"
HOLD = "verifications/20261121T020000.345Z-passed"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        (["verified.json", "rest.0", "manifest.json"], None),
        ([HOLD], VerificationResult(AT, failed=False)),
        ([FAIL, HOLD], VerificationResult(AT, failed=True)),
        (["verifications/20261120T020000.000Z-failed", HOLD], VerificationResult(AT, failed=False)),
        (["verifications/20261121T020001.000Z-failed", HOLD], VerificationResult(LATER, failed=True)),
        (["verifications/20261121T020001.000Z-passed", FAIL], VerificationResult(LATER, failed=False)),
        ([HOLD, "verifications/20991121T020000.000Z-failed"], VerificationResult(AT, failed=False)),
        (["verifications/20261321T020000.000Z-failed", "verifications/x-failed", f"{FAIL}/x", f"x/{FAIL}"], None),
        (["verifications/20261121T020000.345Z-unknown", f"{HOLD}\n"], None),
    ],
)  # fmt: skip
def test_the_newest_result_counts(names: list[str], expected: VerificationResult | None) -> None:
    assert newest_result(names, AT + timedelta(days=1)) == expected


def test_a_result_has_its_time_and_outcome_in_its_name() -> None:
    assert VerificationResult(AT, failed=True).name == FAIL
    assert VerificationResult(AT, failed=False).name == HOLD


@pytest.mark.parametrize(
    "text", ["", "20261121T020000Z", "20261121T250000.000Z", "2026-11-21", "\u0662\u0660261121T020000.000Z"]
)
def test_a_malformed_time_is_none(text: str) -> None:
    assert parse_precise_timestamp(text) is None
    assert parse_precise_timestamp(precise_timestamp(AT)) == AT
