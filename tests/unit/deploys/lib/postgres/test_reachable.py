"""Which moments the repositories can restore, and with which command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploys.lib.postgres import reachable
from deploys.lib.postgres.reachable import Target, parse_info, parse_target

T0 = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
NOW = T0 + timedelta(days=1)


def backup(label: str, after: int, repository: int = 1, **more: Any) -> dict[str, Any]:
    """Return a backup as pgBackRest 2.45 shows it, that ended so many hours after T0."""
    return {
        "database": {"id": 1, "repo-key": repository},
        "label": label,
        "type": "full" if label.endswith("F") else "incr",
        "timestamp": {"start": 0, "stop": int(T0.timestamp()) + after * 3600},
        "info": {"size": (after + 1) * 1000},
        "error": False,
        **more,
    }


INFO: dict[str, Any] = {
    "db": [{"id": 1, "repo-key": 1, "system-id": 77, "version": "15"}],
    "archive": [
        {"database": {"id": 1, "repo-key": 1}, "id": "15-1", "max": "0000000200000000000000A1"},
        {"database": {"id": 1, "repo-key": 2}, "id": "15-1", "max": None},
    ],
    "backup": [
        backup("20261129-030000F", 0),
        backup("20261129-030000F_20261129-040000I", 1),
        backup("20261129-050000F", 2, 2),
        backup("20261129-060000F", 3, error=True),
    ],
}
FOUND = parse_info(INFO)


def test_timelines_are_read_from_the_files_of_the_archive() -> None:
    files = {
        "00000002.history": {"time": 0},
        "0000000A.history": {"time": 60},
        "0000000100000000": {},
        "x": {"time": 1},
    }
    epoch = datetime.fromtimestamp(0, UTC)
    assert reachable.parse_timelines(files) == {2: epoch, 10: epoch + timedelta(minutes=1)}


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(1, "1"), (3, "2"), (5, "3"), (6, "3"), (8, "")],
)
def test_a_time_is_restored_on_the_timeline_of_that_time(hours: int, expected: str) -> None:
    timelines = {number: T0 + timedelta(hours=began) for number, began in {2: 2, 3: 4, 4: 7}.items()}
    target = parse_target(f"{T0 + timedelta(hours=hours)}")
    assert reachable.timeline_at(target, timelines) == expected
    assert reachable.timeline_at(target, {}) == ""
    assert reachable.timeline_at(Target("latest"), timelines) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest", Target("latest")),
        ("20261129-030000F", Target("backup", "20261129-030000F")),
        ("20261129-030000F_20261129-040000I", Target("backup", "20261129-030000F_20261129-040000I")),
        ("point:before-migration", Target("name", "before-migration")),
        ("xid:4711", Target("xid", "4711")),
        ("2026-11-29 03:00", Target("time", "2026-11-29 03:00:00.000000+00", T0)),
        ("2026-11-29T04:00:00+01:00", Target("time", "2026-11-29 03:00:00.000000+00", T0)),
        ("2026-11-29 03:00:00.25Z", Target("time", "2026-11-29 03:00:00.250000+00", T0 + timedelta(seconds=0.25))),
    ],
)
def test_a_target_has_one_of_the_known_forms(text: str, expected: Target) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "point:", "point:a'b", "xid:x", "14:03", "20261129-030000D"])
def test_another_text_is_refused_with_the_known_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a time such as .*; to=\? shows what can be restored"):
        parse_target(text)


def test_the_reachable_span_of_each_repository_is_shown() -> None:
    assert FOUND.systems == {"77"}
    assert FOUND.newest_wal == {1: ("15-1", "0000000200000000000000A1")}
    assert list(reachable.reachable_lines(FOUND, {1: T0 + timedelta(hours=5)})) == [
        "repository 1: from 2026-11-29 03:00:00 UTC to 2026-11-29 08:00:00 UTC, when its newest WAL arrived",
        "    20261129-030000F_20261129-040000I  incr  2026-11-29 04:00:00 UTC",
        "    20261129-030000F  full  2026-11-29 03:00:00 UTC",
        "repository 2: from 2026-11-29 05:00:00 UTC to its last backup",
        "    20261129-050000F  full  2026-11-29 05:00:00 UTC",
    ]
    many = parse_info({**INFO, "backup": [backup(f"202611{day:02}-030000F", day) for day in range(1, 13)]})
    assert list(reachable.reachable_lines(many, {}))[-1] == "    and 2 older ones"


@pytest.mark.parametrize(
    ("target", "info", "version", "expected"),
    [
        (Target("latest"), INFO, 15, ""),
        (parse_target("2026-11-29 03:00"), INFO, 15, ""),
        (parse_target("2026-11-29 02:59"), INFO, 15, "is before the end of the oldest backup, 2026-11-29 03:00:00 UTC"),
        (parse_target("2026-12-01"), INFO, 15, "is in the future; it is 2026-11-30 03:00:00 UTC"),
        (Target("backup", "20261129-050000F"), INFO, 15, ""),
        (Target("backup", "20261129-060000F"), INFO, 15, "there is no backup 20261129-060000F"),
        (Target("latest"), INFO, 17, "the backups are of PostgreSQL 15, and this host has 17"),
        (Target("latest"), {}, 15, "the repositories have no backup of this stanza"),
    ],
)
def test_a_target_that_cannot_be_reached_is_a_fault(
    target: Target, info: dict[str, Any], version: int, expected: str
) -> None:
    faults = list(reachable.target_faults(target, parse_info(info), version, NOW))
    assert len(faults) == bool(expected)
    assert expected in "".join(faults)


def test_the_size_is_that_of_the_backup_before_the_moment() -> None:
    assert reachable.needed_bytes(Target("latest"), FOUND) == 3000
    assert reachable.needed_bytes(parse_target("2026-11-29 04:30"), FOUND) == 2000
    assert reachable.needed_bytes(Target("backup", "20261129-030000F"), FOUND) == 1000
    assert reachable.needed_bytes(Target("latest"), FOUND, "20261129-030000F") == 1000
    assert reachable.needed_bytes(parse_target("2026-11-29 02:00"), FOUND) == 0


def test_a_backup_to_start_from_must_exist_and_precede_the_moment() -> None:
    target = parse_target("2026-11-29 03:30")
    first, later = "20261129-030000F", "20261129-050000F"
    assert list(reachable.target_faults(target, FOUND, 15, NOW, first)) == []
    assert list(reachable.target_faults(target, FOUND, 15, NOW, "20261101-030000F")) == [
        "there is no backup 20261101-030000F"
    ]
    assert list(reachable.target_faults(target, FOUND, 15, NOW, later)) == [
        f"backup {later} ended after 2026-11-29 03:30:00.000000+00; name an earlier one"
    ]


@pytest.mark.parametrize(
    ("target", "backup", "timeline", "expected"),
    [
        (Target("latest"), "", "", "--type=default"),
        (Target("latest"), "20261129-030000F", "1", "--type=default --set=20261129-030000F --target-timeline=1"),
        (Target("name", "x"), "", "", "--type=name --target=x --target-action=promote"),
        (Target("backup", "B"), "", "", "--type=immediate --set=B --target-action=promote"),
        (
            parse_target("2026-11-29 03:00"),
            "",
            "",
            "--type=time --target=2026-11-29 03:00:00.000000+00 --target-action=promote",
        ),
    ],
)
def test_the_options_of_the_restore(target: Target, backup: str, timeline: str, expected: str) -> None:
    assert " ".join(reachable.restore_options(target, backup, timeline)) == expected
