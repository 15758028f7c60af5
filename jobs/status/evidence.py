"""Evidence about backups over a period, made to be read by an auditor: what was backed up, verified, restored and lost.

Pure, except for collect_evidence(). The evidence is a document of plain values: one text of it is signed and rendered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jobs.backup import find_sets, section_of
from jobs.run.by_hand import read_record_now
from jobs.run.documents import key_time, to_second
from jobs.run.job import Failed, Outcome
from jobs.run.record import Record, record_keys
from jobs.run.ticks import period

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.backup import Set
    from jobs.store import Store

EVIDENCE_NAMESPACE = "groundcrew-evidence"
BY_HAND = ("restore", "undelete", "pin", "unpin")
JOBS_OF_EVIDENCE = ("backup", "verify", "retention", "copy", *BY_HAND)
LATE = 1.5  # periods without a backup that count as a gap, as in the alert rules
_READERS = 16
_MOST_SECONDS = 366 * 86400
_GOOD = (Outcome.DONE, Outcome.FINDING)

Document = dict[str, Any]


def collect_evidence(environment: Environment, store: Store, since: datetime, until: datetime, author: str) -> Document:
    """Read the records and sets of a period, and return the evidence."""
    keys = [
        key
        for key in record_keys(store, environment.name, now=until, since=since)
        if key.job in JOBS_OF_EVIDENCE and key_time(key.run) < until
    ]

    def read(key: Any) -> Record | None:
        try:
            return read_record_now(store, key, until)
        except Failed:
            return None

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(read, keys))
    sets = [each for each in find_sets(store, environment) if each.started < until]
    return {
        "environment": environment.name,
        "since": to_second(since),
        "until": to_second(until),
        "timezone": environment.timezone.key,
        "store": store.url,
        "made_by": author,
        "records": len(keys),
        "unreadable_records": found.count(None),
        "databases": databases_evidence(environment, [each for each in found if each], sets, since, until),
    }


def databases_evidence(
    environment: Environment, records: Sequence[Record], sets: Sequence[Set], since: datetime, until: datetime
) -> list[Document]:
    """Return the evidence about each database that was backed up, is to be, or has sets."""
    scheduled = [name for name, database in environment.databases.items() if database.backup]
    ran = {each.subject for each in records if each.job == "backup" and each.subject not in environment.servers}
    return [
        database_evidence(
            name,
            sorted((each for each in records if _is_about(each, name, environment)), key=lambda each: each.started),
            sorted((each for each in sets if each.database == name), key=lambda each: each.sort_key),
            to_next=_period(environment, name, until),
            policy=_policy(environment, name),
            since=since,
            until=until,
        )
        for name in sorted({*scheduled, *ran, *(each.database for each in sets)})
    ]


def _is_about(record: Record, name: str, environment: Environment) -> bool:
    copy, _, copied = record.subject.partition(".")
    return record.subject == name or (copy in environment.copies and copied == name)


def _period(environment: Environment, name: str, at: datetime) -> timedelta | None:
    try:
        line = section_of(environment, name)[0].backup
    except Failed:
        return None
    return period(line, environment.timezone, at) if line else None


def _policy(environment: Environment, name: str) -> str:
    """Return the retention policy of today, as in the environment file."""
    try:
        keep = section_of(environment, name)[0].keep
    except Failed:
        return "the environment file no longer names this database"
    rules = [f"{each.name} = {value}" for each in fields(keep) if (value := getattr(keep, each.name))]
    return ", ".join(rules) or "no rule: nothing is removed"


def database_evidence(
    name: str,
    records: Sequence[Record],
    sets: Sequence[Set],
    *,
    to_next: timedelta | None,
    policy: str,
    since: datetime,
    until: datetime,
) -> Document:
    """Return the evidence about one database; `records` and `sets` are oldest first."""
    of_job = {job: [each for each in records if each.job == job] for job in JOBS_OF_EVIDENCE}
    done = [each for each in of_job["backup"] if each.outcome in _GOOD]
    verified = [each for each in of_job["verify"] if each.outcome is Outcome.DONE and _seconds(each) is not None]
    times = [seconds for each in verified if (seconds := _seconds(each)) is not None]
    return {
        "database": name,
        "backups_done": len(done),
        "backups_failed": len(of_job["backup"]) - len(done),
        "longest_time_between_backups_seconds": _longest_wait([each.started for each in done], until),
        "longest_time_between_verifications_seconds": _longest_wait([each.ended for each in verified], until),
        "verifications_passed": len(verified),
        "verifications_failed": sum(each.outcome is not Outcome.DONE for each in of_job["verify"]),
        "longest_recovery_time_seconds": round(max(times), 1) if times else None,
        "newest_backup": to_second(done[-1].started) if done else None,
        "newest_verification": to_second(verified[-1].ended) if verified else None,
        "gaps": backup_gaps(of_job["backup"], to_next, since, until),
        "verifications": [_line(each) for each in of_job["verify"]],
        "restores": [_line(each) for each in of_job["restore"]],
        "changes": [_line(each) for job in BY_HAND if job != "restore" for each in of_job[job]],
        "policy": policy,
        "retention": [
            _line(each) for each in of_job["retention"] if each.figures.get("removed_sets") or not _is_good(each)
        ],
        "copies": {"runs": len(of_job["copy"]), "failed": sum(not _is_good(each) for each in of_job["copy"])},
        "sets": [_set_line(each) for each in sets],
    }


def _longest_wait(times: Sequence[datetime], until: datetime) -> int | None:
    """Return the longest time from one of these times to the next, or to the end; None without any."""
    waits = [later - earlier for earlier, later in pairwise([*times, until])]
    return round(max(waits).total_seconds()) if waits else None


def _seconds(record: Record) -> float | None:
    """Return the time that a restore took in a verification; None without one, or if somebody else wrote the record."""
    seconds = record.figures.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < _MOST_SECONDS else None


def _is_good(record: Record) -> bool:
    return record.outcome in _GOOD


def backup_gaps(
    backups: Sequence[Record], to_next: timedelta | None, since: datetime, until: datetime
) -> list[Document]:
    """Return the times without a backup that were longer than 1.5 periods, and what the runs meanwhile say."""
    if to_next is None:
        return []
    ends = [since, *(each.started for each in backups if _is_good(each)), until]
    return [
        {
            "from": to_second(begin),
            "to": to_second(end),
            "seconds": round((end - begin).total_seconds()),
            "why": _reasons(each for each in backups if begin <= each.started < end and not _is_good(each)),
        }
        for begin, end in pairwise(ends)
        if end - begin > LATE * to_next
    ]


def _reasons(failed: Iterable[Record]) -> str:
    sentences = list(dict.fromkeys(each.sentence or f"run {each.run} {each.outcome}" for each in failed))
    return "; ".join(sentences) or "no run was recorded"


def _line(record: Record) -> Document:
    return {
        "at": to_second(record.started),
        "job": record.job,
        "subject": record.subject,
        "outcome": str(record.outcome),
        "sentence": record.sentence,
        "by": f"{record.user}@{record.host}" if record.user else record.host,
        "run": record.run,
    }


def _set_line(backup_set: Set) -> Document:
    result = backup_set.result
    return {
        "set": backup_set.id,
        "started": to_second(backup_set.started),
        "bytes": backup_set.size,
        "complete": backup_set.complete,
        "trusted": backup_set.complete and backup_set.untrusted is None,
        "encrypted": backup_set.marker is not None and backup_set.marker.encrypted,
        "verified": to_second(backup_set.verified),
        "verification": "none" if result is None else "failed" if result.failed else "passed",
        "pinned": backup_set.pinned,
    }


def document_text(document: Document) -> str:
    """Return the text of a document that is signed."""
    return json.dumps(document, ensure_ascii=False, indent=1)
