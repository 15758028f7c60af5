#!/usr/bin/python3
"""Print metrics of a server's WAL archive and repositories, for node_exporter. Runs on the host, as postgres.

    pitr-metrics STANZA REPOSITORIES DATA_FOLDER LONGEST_SECONDS_BETWEEN_BACKUPS
    pitr-metrics --sum-sizes < the JSON of `pgbackrest repo-ls`

It needs only Python's standard library. It reads the files of WAL segments, so it works while PostgreSQL is down.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/groundcrew-pitr")
SEGMENT = re.compile(r"[0-9A-F]{24}")
LISTING_SECONDS = 20
MOST_FOLDERS = 16  # directories with 4 GiB of WAL each
PREFIX = "groundcrew_pitr"
HELP = {
    "measured_timestamp_seconds": "When these metrics were measured",
    "archive_lag_seconds": "Age of the oldest WAL segment that waits for the archive",
    "archive_waiting_segments": "WAL segments that wait for the archive",
    "archive_dropped": "1 if the repository lacks WAL that PostgreSQL no longer keeps for it",
    "repository_ok": "1 if pgBackRest reads the repository and finds no fault",
    "repository_size_bytes": "Size of the repository after the last backup, with WAL",
    "reachable_since_timestamp_seconds": "The earliest moment that can be restored",
    "last_backup_timestamp_seconds": "End of the newest backup of each type",
    "backup_failed": "1 if the last try to make a backup failed",
    "backup_period_seconds": "The longest time between two scheduled backups",
}


def archive_lines(status: Iterable[tuple[str, float]], now: float) -> Iterator[str]:
    """Yield the metrics of waiting WAL, from the names in archive_status and their times."""
    waiting = [modified for name, modified in status if name.endswith(".ready")]
    yield line("archive_lag_seconds", max(0.0, now - min(waiting)) if waiting else 0)
    yield line("archive_waiting_segments", len(waiting))


def newest_done(names: Iterable[str]) -> str:
    """Return the newest WAL segment that PostgreSQL regards as archived; "" if there is none."""
    segments = (name.removesuffix(".done") for name in names if name.endswith(".done"))
    return max((segment for segment in segments if SEGMENT.fullmatch(segment)), default="")


def first_missing(segments: Iterable[str]) -> str:
    """Return the first WAL segment that is missing between those of one timeline; "" if there is none."""
    ordered = sorted(set(segments))
    last = max((int(each[16:], 16) for each in ordered), default=0)  # the last one of a log file
    for one, other in pairwise(ordered):
        log, number = int(one[8:16], 16), int(one[16:], 16)
        following = f"{one[:8]}{log + 1:08X}{0:08X}" if number == last else f"{one[:16]}{number + 1:08X}"
        if other != following:
            return following
    return ""


def dropped_segment(archived: Collection[str], waiting: Collection[str], done: str, start: str) -> str:
    """Return the first WAL segment that a repository lacks and that PostgreSQL no longer keeps for it; "" for none.

    `waiting` and `done` were read before the archive was listed, so a segment that arrived meanwhile is not missing.
    No segment before `start`, the first one of the newest backup, is missing either.
    """
    needed = {each for each in (done, *archived) if each[8:] >= start[8:]}
    newest = max(needed, default="")
    of_timeline = {each for each in needed if each[:8] == newest[:8]}
    missing = first_missing(of_timeline) or max(of_timeline.difference(archived), default="")
    return "" if missing in waiting else missing


def archive_folders(name: str, stanza: Mapping[str, Any], done: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield each repository with the first segment of its newest backup, and the directories of the WAL since then."""
    for archive in stanza.get("archive", ()):
        key = archive["database"]["repo-key"]
        if not archive.get("max"):
            continue
        backups = [each for each in stanza.get("backup", ()) if each["database"]["repo-key"] == key]
        newest_backup = max(backups, key=lambda each: each["timestamp"]["stop"], default=None)
        start = newest_backup["archive"]["start"] if newest_backup else archive["min"]
        newest = max(archive["max"], done)
        logs = range(int(start[8:16], 16), int(newest[8:16], 16) + 1)[-MOST_FOLDERS:]
        yield key, start, [f"archive/{name}/{archive['id']}/{newest[:8]}{log:08X}" for log in logs]


def repository_lines(stanza: Mapping[str, Any], repositories: int, dropped: Mapping[int, str]) -> Iterator[str]:
    """Yield the metrics of each repository, from an entry of `pgbackrest info --output=json`; {} if there is none.

    `dropped` has the segment that a repository lacks, or "", for each repository whose archive was listed.
    """
    healthy = {each["key"] for each in stanza.get("repo", ()) if each["status"]["code"] == 0}
    for key in range(1, repositories + 1):
        labels = f'repository="{key}"'
        backups = [each for each in stanza.get("backup", ()) if each["database"]["repo-key"] == key]
        yield line("repository_ok", int(key in healthy), labels)
        if key in dropped:
            yield line("archive_dropped", int(bool(dropped[key])), labels)
        stops = {each["type"]: each["timestamp"]["stop"] for each in backups}  # the last one of each type wins
        for kind, stop in sorted(stops.items()) or [("full", 0)]:  # 0: never, so that the alert for overdue ones fires
            yield line("last_backup_timestamp_seconds", stop, f'{labels},type="{kind}"')
        if backups:
            yield line("reachable_since_timestamp_seconds", min(each["timestamp"]["stop"] for each in backups), labels)


def result_lines(files: Mapping[str, str]) -> Iterator[str]:
    """Yield what the last backups left in STATE, from texts by file name."""
    for name, text in sorted(files.items()):
        what, _, number = name.partition("-")
        if text.strip().isdigit() and number.isdigit() and what in {"result", "size"}:
            labels = f'repository="{number}"'
            value = int(text)
            yield (
                line("repository_size_bytes", value, labels)
                if what == "size"
                else line("backup_failed", int(value != 0), labels)
            )


def line(name: str, value: float, labels: str = "") -> str:
    return f"{PREFIX}_{name}{{{labels}}} {value:g}" if abs(value) < 1e6 else f"{PREFIX}_{name}{{{labels}}} {value:.0f}"


def grouped(lines: Iterable[str]) -> str:
    """Return the lines with their help texts, metric by metric, as the format demands."""
    ordered = sorted(each.replace("{}", "") for each in lines)
    parts, seen = [], ""
    for each in ordered:
        name = re.split(r"[{ ]", each, maxsplit=1)[0]
        if name != seen:
            parts += [f"# HELP {name} {HELP[name.removeprefix(f'{PREFIX}_')]}", f"# TYPE {name} gauge"]
        seen = name
        parts.append(each)
    return "\n".join([*parts, ""])


def repository_faults(stanza: Mapping[str, Any]) -> Iterator[str]:
    """Yield why pgBackRest finds a fault in a repository."""
    for each in stanza.get("repo", ()):
        if each["status"]["code"] != 0:
            yield f"repository {each['key']}: {each['status']['message']}"


def read_json(command: Sequence[str], seconds: int) -> Any:
    """Return the JSON that pgBackRest prints; None if it fails or doesn't answer in time, and say why."""
    try:
        output = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=seconds).stdout
    except subprocess.TimeoutExpired:
        report_reason(f"{command[-1]}: no answer within {seconds} s")
        return None
    return parse_json(output.decode(errors="replace"))


def parse_json(output: str) -> Any:
    """Return the JSON in pgBackRest's output; None if it is an error, and say it: some versions print it to stdout."""
    try:
        return json.loads(output)
    except ValueError:
        report_reason(output)
        return None


def report_reason(reason: str) -> None:
    """Write a reason to stderr, which is the unit's journal, on one printable line."""
    text = "; ".join(each.strip() for each in reason.splitlines() if each.strip())
    if text:
        sys.stderr.write("".join(each if each.isprintable() else "?" for each in text) + "\n")


def read_info(stanza: str) -> Mapping[str, Any]:
    """Return what pgBackRest knows about the stanza; {} if it doesn't answer."""
    stanzas = read_json(["pgbackrest", f"--stanza={stanza}", "--io-timeout=5", "--output=json", "info"], 40)
    return dict(stanzas[0]) if stanzas else {}


def read_archived(name: str, repository: int, folder: str) -> list[str] | None:
    """Return the WAL segments in a directory of a repository; None if it doesn't answer."""
    command = ["pgbackrest", f"--stanza={name}", f"--repo={repository}", "--io-timeout=5", "--output=json"]
    files = read_json([*command, "repo-ls", folder], 10)
    return (
        None if files is None else [each[:24] for each in files if SEGMENT.fullmatch(each[:24]) and each[24:25] == "-"]
    )


def read_dropped(name: str, stanza: Mapping[str, Any], waiting: Collection[str], done: str) -> dict[int, str]:
    """Return the segment that each repository lacks, or "", without those whose archive can't be listed in time."""
    found, end = {}, time.monotonic() + LISTING_SECONDS
    for key, start, folders in archive_folders(name, stanza, done):
        listed = [read_archived(name, key, folder) if time.monotonic() < end else None for folder in folders]
        if None not in listed:
            archived = [each for folder in listed for each in folder or ()]
            found[key] = dropped_segment(archived, waiting, done, start)
    return found


def main(arguments: list[str]) -> None:
    if arguments == ["--sum-sizes"]:
        files = parse_json(sys.stdin.read())
        if files is None:
            sys.exit(1)
        sys.stdout.write(f"{sum(entry.get('size', 0) for entry in files.values())}\n")
        return
    stanza, repositories, data, period = arguments
    now = time.time()
    folder = Path(data, "pg_wal/archive_status")
    status = [(file.name, file.stat().st_mtime) for file in folder.glob("*") if file.exists()]
    waiting = {file.removesuffix(".ready") for file, _ in status if file.endswith(".ready")}
    done, info = newest_done(file for file, _ in status), read_info(stanza)
    for fault in repository_faults(info):
        report_reason(fault)
    lines = [
        line("measured_timestamp_seconds", now),
        line("backup_period_seconds", int(period)),
        *archive_lines(status, now),
        *repository_lines(info, int(repositories), read_dropped(stanza, info, waiting, done)),
        *result_lines({file.name: file.read_text() for file in STATE.glob("*-?")}),
    ]
    sys.stdout.write(grouped(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
