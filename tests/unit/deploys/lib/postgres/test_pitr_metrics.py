"""The metrics of a WAL archive, from what the host and pgBackRest say."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploys.lib.postgres import pitr_metrics

SEGMENTS = [f"00000001000000000000000{number}" for number in range(1, 8)]
# The shape of `pgbackrest info --output=json` of 2.45, with what the metrics read.
INFO: dict[str, Any] = {
    "repo": [{"key": 1, "status": {"code": 0}}, {"key": 2, "status": {"code": 99}}],
    "archive": [{"database": {"id": 1, "repo-key": 1}, "max": SEGMENTS[5], "min": SEGMENTS[0]}],
    "backup": [
        {"database": {"id": 1, "repo-key": 1}, "timestamp": {"start": 90, "stop": 100}, "type": "full"},
        {"database": {"id": 1, "repo-key": 1}, "timestamp": {"start": 190, "stop": 200}, "type": "incr"},
        {"database": {"id": 1, "repo-key": 1}, "timestamp": {"start": 290, "stop": 300}, "type": "incr"},
    ],
}


def values(lines: list[str]) -> dict[str, float]:
    return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines)}


def test_the_lag_is_the_age_of_the_oldest_waiting_segment() -> None:
    status = [(f"{SEGMENTS[0]}.done", 10.0), (f"{SEGMENTS[1]}.ready", 400.0), (f"{SEGMENTS[2]}.ready", 700.0)]
    assert values(list(pitr_metrics.archive_lines(status, 1000.0))) == {
        "groundcrew_pitr_archive_lag_seconds{}": 600,
        "groundcrew_pitr_archive_waiting_segments{}": 2,
    }
    assert values(list(pitr_metrics.archive_lines(status[:1], 1000.0)))["groundcrew_pitr_archive_lag_seconds{}"] == 0


def test_a_repository_that_lacks_archived_wal_dropped_it() -> None:
    names = [f"{SEGMENTS[5]}.done", f"{SEGMENTS[6]}.ready", "00000002.history.done", "x.done"]
    assert pitr_metrics.newest_done(names) == SEGMENTS[5]
    assert pitr_metrics.newest_done([]) == ""
    for dropped, value in (("", 0), (SEGMENTS[6], 1)):
        found = values(list(pitr_metrics.repository_lines(INFO, 1, {1: dropped})))
        assert found['groundcrew_pitr_archive_dropped{repository="1"}'] == value


@pytest.mark.parametrize(
    ("start", "archived", "waiting", "done", "dropped"),
    [
        ("1", "12345", "", "5", ""),
        ("1", "12345", "67", "5", ""),
        ("1", "12", "", "5", "3"),  # the repository is out of reach, and the queue is full
        ("1", "12", "", "3", "3"),
        ("1", "1267", "", "7", "3"),  # it answers again, and the gap stays
        ("1", "1267", "345", "2", ""),  # several segments travel at once: an earlier one still waits
        ("1", "", "123", "", ""),
        ("3", "345", "", "", ""),  # those before the newest backup do not count
        ("5", "12345", "5", "4", ""),  # the server does not know yet that the WAL of a new backup has arrived
        ("1", "12", "3", "1", ""),
    ],
)
def test_a_gap_in_the_archive(start: str, archived: str, waiting: str, done: str, dropped: str) -> None:
    names = {str(number): name for number, name in enumerate(SEGMENTS, 1)} | {"": ""}
    found = pitr_metrics.dropped_segment(
        [names[each] for each in archived], {names[each] for each in waiting}, names[done], names[start]
    )
    assert found == names[dropped]


@pytest.mark.parametrize(
    ("segments", "missing"),
    [
        (["0000000100000000000000FE", "0000000100000000000000FF", "000000010000000100000000"], ""),
        (["0000000100000000000000FF", "000000010000000100000001"], "000000010000000100000000"),
        (
            ["000000010000000000000003", "000000010000000100000000", "000000010000000100000003"],
            "000000010000000100000001",
        ),
        ([], ""),
    ],
)
def test_a_log_file_ends_with_its_last_segment(segments: list[str], missing: str) -> None:
    assert pitr_metrics.first_missing(segments) == missing


def test_the_archive_is_listed_from_the_newest_backup_on() -> None:
    backups = [
        {**each, "archive": {"start": f"00000001{number:08X}000000FE"}} for number, each in enumerate(INFO["backup"])
    ]
    archive = [{"database": {"id": 1, "repo-key": 1}, "id": "15-1", "max": "000000010000000200000001", "min": "x"}]
    stanza = {**INFO, "backup": backups, "archive": archive}
    assert list(pitr_metrics.archive_folders("main", stanza, "000000010000000300000000")) == [
        (
            1,
            "0000000100000002000000FE",
            ["archive/main/15-1/0000000100000002", "archive/main/15-1/0000000100000003"],
        )
    ]
    assert list(pitr_metrics.archive_folders("main", {}, "")) == []


def test_each_repository_has_its_state_and_the_newest_backup_of_each_type() -> None:
    assert values(list(pitr_metrics.repository_lines(INFO, 2, {1: ""}))) == {
        'groundcrew_pitr_repository_ok{repository="1"}': 1,
        'groundcrew_pitr_archive_dropped{repository="1"}': 0,
        'groundcrew_pitr_last_backup_timestamp_seconds{repository="1",type="full"}': 100,
        'groundcrew_pitr_last_backup_timestamp_seconds{repository="1",type="incr"}': 300,
        'groundcrew_pitr_reachable_since_timestamp_seconds{repository="1"}': 100,
        'groundcrew_pitr_repository_ok{repository="2"}': 0,
        'groundcrew_pitr_last_backup_timestamp_seconds{repository="2",type="full"}': 0,
    }
    assert values(list(pitr_metrics.repository_lines({}, 1, {}))) == {
        'groundcrew_pitr_repository_ok{repository="1"}': 0,
        'groundcrew_pitr_last_backup_timestamp_seconds{repository="1",type="full"}': 0,
    }


def test_results_of_backups_are_read_from_files() -> None:
    files = {"result-1": "0\n", "result-2": "82\n", "size-1": "6673040\n", "size-2": "", "else-1": "5"}
    assert values(list(pitr_metrics.result_lines(files))) == {
        'groundcrew_pitr_backup_failed{repository="1"}': 0,
        'groundcrew_pitr_backup_failed{repository="2"}': 1,
        'groundcrew_pitr_repository_size_bytes{repository="1"}': 6673040,
    }


def test_prometheus_reads_the_text_and_each_metric_has_a_help() -> None:
    status = [(f"{SEGMENTS[1]}.ready", 400.0)]
    lines = [
        pitr_metrics.line("measured_timestamp_seconds", 1796009411.25),
        pitr_metrics.line("backup_period_seconds", 86400),
        *pitr_metrics.repository_lines(INFO, 2, {1: ""}),
        *pitr_metrics.archive_lines(status, 1000.0),
        *pitr_metrics.result_lines({"result-1": "0", "size-1": "5"}),
    ]
    families = {each.name: each for each in text_string_to_metric_families(pitr_metrics.grouped(reversed(lines)))}
    assert {name.removeprefix("groundcrew_pitr_") for name in families} == set(pitr_metrics.HELP)
    assert families["groundcrew_pitr_measured_timestamp_seconds"].samples[0].value == 1796009411
    assert families["groundcrew_pitr_archive_lag_seconds"].samples[0].labels == {}
    assert all(each.documentation for each in families.values())


@pytest.mark.parametrize(
    ("script", "found", "said"),
    [
        ("echo '{\"a\": 1}'", {"a": 1}, ""),
        ("echo 'P00  ERROR: [049]: no route'; echo '       HINT: \033[1m?'; exit 49", None,
         "P00  ERROR: [049]: no route; HINT: ?[1m?\n"),
        ("echo 'ERROR: [037]: no cipher' >&2; exit 37", None, "ERROR: [037]: no cipher\n"),
        ("exec sleep 60", None, "exec sleep 60: no answer within 1 s\n"),
    ],
)  # fmt: skip
def test_the_reason_of_pgbackrest_goes_to_stderr(
    capfd: pytest.CaptureFixture[str], script: str, found: object, said: str
) -> None:
    assert pitr_metrics.read_json(["sh", "-c", script], 1 if "sleep" in script else 30) == found
    assert capfd.readouterr() == ("", said)


def test_each_repository_with_a_fault_says_it() -> None:
    broken = {"key": 2, "status": {"code": 99, "message": "[HostConnectError] no route"}}
    assert list(pitr_metrics.repository_faults({"repo": [INFO["repo"][0], broken]})) == [
        "repository 2: [HostConnectError] no route"
    ]
    assert list(pitr_metrics.repository_faults({})) == []


def test_sizes_that_cannot_be_listed_are_no_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("P00  ERROR: [049]: no route\n"))
    with pytest.raises(SystemExit):
        pitr_metrics.main(["--sum-sizes"])
    assert capsys.readouterr() == ("", "P00  ERROR: [049]: no route\n")
