"""What a repository of pgBackRest has of a stanza, from pgBackRest's own output, which is not trusted. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploys.lib.postgres.pitr_metrics import first_missing
from inventories.printable import printable
from jobs.format import format_duration
from jobs.run.job import Failed

_LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?")
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_ARCHIVED = re.compile(r"(?:.*/)?(?:([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w{1,4})?|([0-9A-F]{8}\.history))")
_ARCHIVE_ID = re.compile(r"\d{1,2}(\.\d)?-\d{1,9}")
_LOWEST_MAJOR = 13
_LONGEST_REASON = 300
_NO_BACKUP = 2  # the status of a stanza without a backup
_WRONG_CIPHER = "is the key in its configuration right (cipher-pass)?"
_NOT_AS_PRINTED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError, OSError)
_FOLDER = re.compile(r"[0-9A-F]{16}")
_TRAVELS = timedelta(minutes=5)
_JSON = re.compile(r"^[\[{]", re.MULTILINE)
_LOG_PREFIX = re.compile(r"^(?:[\d-]{10} [\d:.]{12} )?P\d\d +")
_LOG_NOISE = re.compile(r"HINT|NOTE|WARN|INFO: \S+ command (begin|end)")
# The line of the configuration that it can't read, and that may have a secret.
_QUOTED_LINE = re.compile(r"( at line \d+)\b.*")
SEGMENT_BYTES = 16 * 1024 * 1024


class PitrError(Failed):
    """A stanza cannot be read, restored or verified, and trying again does not help."""


@dataclass(frozen=True, slots=True)
class BaseBackup:
    """A complete backup in a repository: what a recovery starts from."""

    label: str
    stopped: datetime
    bytes: int
    """Its size when restored."""
    first_segment: str
    """The first WAL segment that it needs."""


@dataclass(frozen=True, slots=True)
class Stanza:
    """What one repository has of a stanza; with a `fault`, nothing of it can be restored."""

    name: str
    repository: int
    fault: str = ""
    major: int = 0
    archive_id: str = ""
    newest_segment: str = ""
    backups: tuple[BaseBackup, ...] = ()
    """Oldest first, all of the newest server."""

    @property
    def newest(self) -> BaseBackup | None:
        return self.backups[-1] if self.backups else None


@dataclass(frozen=True, slots=True)
class Archive:
    """The WAL in a repository that a recovery needs: its files, oldest first, and when the newest one arrived."""

    files: tuple[str, ...]
    newest_at: datetime | None
    missing: str = ""
    """The first segment that is missing between others, without those of the last minutes: several travel at once."""

    @property
    def bytes(self) -> int:
        """The size of its segments when restored."""
        return len(self.files) * SEGMENT_BYTES


def parse_stanzas(output: bytes, name: str) -> tuple[Stanza, ...]:
    """Return what each repository has of a stanza, from `pgbackrest info --output=json`.

    PitrError if that is not what pgBackRest prints.
    """
    try:
        entry = next(each for each in _document(output) if each["name"] == name)
        stanzas = tuple(_stanza(entry, int(each["key"])) for each in entry["repo"])
    except (*_NOT_AS_PRINTED, StopIteration) as error:
        raise PitrError(f"pgBackRest printed something else than its state ({type(error).__name__})") from None
    if not stanzas:
        raise PitrError("its configuration has no repository; add repo1-path or repo1-type")
    return stanzas


def choose_repository(stanzas: Sequence[Stanza], repository: int | None) -> Stanza:
    """Return the stanza in this repository (default: the first one with a backup)."""
    if repository is None:
        return next((each for each in stanzas if not each.fault), stanzas[0])
    for each in stanzas:
        if each.repository == repository:
            return each
    known = ", ".join(str(each.repository) for each in stanzas)
    raise PitrError(f"its configuration has no repository {repository}; it has: {known}")


def _document(output: bytes) -> Any:
    """Return the JSON that pgBackRest printed. Since 2.53, warnings about its configuration precede it."""
    text = output.decode(errors="replace")
    start = _JSON.search(text)
    # Not strict: with a wrong key, it quotes noise with control characters.
    return json.loads(text[start.start() :] if start else text, strict=False)


def _stanza(entry: Mapping[str, Any], key: int) -> Stanza:
    name = str(entry["name"])
    [status] = [each["status"] for each in entry["repo"] if each["key"] == key]
    if status["code"] not in (0, _NO_BACKUP):
        return Stanza(name, key, _status_fault(str(status["message"]), str(entry.get("cipher"))))
    databases = {int(each["id"]): each for each in entry["db"] if each["repo-key"] == key}
    if not databases:
        return Stanza(name, key, "it has no server; was the stanza created?")
    newest = max(databases)
    major = int(str(databases[newest]["version"]).partition(".")[0])
    if major < _LOWEST_MAJOR:
        return Stanza(name, key, f"its server is PostgreSQL {major}; verifications need {_LOWEST_MAJOR} or newer")
    of_newest = {"id": newest, "repo-key": key}
    archive: Mapping[str, Any] = next((each for each in entry["archive"] if each["database"] == of_newest), {})
    backups = [_backup(each) for each in entry["backup"] if each["database"] == of_newest and not each.get("error")]
    return Stanza(
        name,
        key,
        "" if backups else "it has no backup yet",
        major,
        _matching(_ARCHIVE_ID, archive.get("id")) if archive.get("max") else "",
        _matching(_SEGMENT, archive["max"]) if archive.get("max") else "",
        tuple(sorted(backups, key=lambda each: (each.stopped, each.label))),
    )


def _backup(entry: Mapping[str, Any]) -> BaseBackup:
    return BaseBackup(
        _matching(_LABEL, entry["label"]),
        datetime.fromtimestamp(int(entry["timestamp"]["stop"]), UTC),
        max(0, int(entry["info"]["size"])),
        _matching(_SEGMENT, entry["archive"]["start"]),
    )


def _matching(pattern: re.Pattern[str], text: object) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError
    return text


def _status_fault(message: str, cipher: str) -> str:
    """Return the reason why pgBackRest cannot read a repository. With a wrong key it sees no more than noise."""
    noise = "FormatError" in message or "CryptoError" in message
    if cipher not in ("None", "none", "mixed") and noise:
        return f"it can't be decrypted; {_WRONG_CIPHER}"
    return short_reason(message)


def short_reason(*outputs: str) -> str:
    """Return why pgBackRest failed, on one printable line: from the first of its outputs with more than hints."""
    lines = [[_LOG_PREFIX.sub("", line.strip()) for line in output.splitlines()] for output in outputs]
    reasons = [[line for line in of_one if line and not _LOG_NOISE.match(line)] for of_one in lines]
    chosen = next(filter(None, [*reasons, *lines]), [])
    text = " ".join(printable(_QUOTED_LINE.sub(r"\1", line)) for line in chosen) or "pgBackRest gave no reason"
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


def parse_archive(outputs: Iterable[bytes], first_segment: str, now: datetime) -> Archive:
    """Return the WAL from a segment on, and the files of all timelines, from what `pgbackrest repo-ls` printed.

    A segment of any timeline counts: PostgreSQL itself takes those that belong to the history of the newest one.
    """
    try:
        listings = [_document(output).items() for output in outputs]
        entries = [each for of_one in listings for each in of_one]
        times = {name: float(entry["time"]) for path, entry in entries if (name := _archived(path))}
        files = [name for name in times if is_history(name) or name[8:] >= first_segment[8:]]
        newest = newest_segment(files)
        newest_at = datetime.fromtimestamp(times[newest], UTC) if newest else None
    except _NOT_AS_PRINTED as error:
        raise PitrError(f"pgBackRest listed its archive in another way ({type(error).__name__})") from None
    settled = (name for name in files if name[:8] == newest[:8] and times[name] < (now - _TRAVELS).timestamp())
    missing = first_missing(name for name in settled if not is_history(name))
    return Archive(tuple(sorted(files, key=lambda name: (not is_history(name), name))), newest_at, missing)


def parse_folders(output: bytes, first_segment: str) -> list[str]:
    """Return the names of the directories with the WAL from a segment on, from `repo-ls` of the archive."""
    try:
        names = list(_document(output))
    except _NOT_AS_PRINTED as error:
        raise PitrError(f"pgBackRest listed its archive in another way ({type(error).__name__})") from None
    return sorted(name for name in names if _FOLDER.fullmatch(name) and name[8:] >= first_segment[8:16])


def gap(archive: Archive) -> str:
    """Return what to report if a segment is missing, else nothing."""
    if not archive.missing:
        return ""
    return f"WAL segment {archive.missing} is missing, so no later moment can be restored from the newest backup"


def is_history(name: str) -> bool:
    """Whether a file of the archive has the history of a timeline, and no WAL."""
    return name.endswith(".history")


def newest_segment(files: Iterable[str]) -> str:
    """Return the newest WAL segment among the files of an archive; "" if there is none."""
    return max((name for name in files if not is_history(name)), default="")


def _archived(path: str) -> str:
    """Return the name of a WAL segment or a history file in the archive; "" for another file."""
    match = _ARCHIVED.fullmatch(path)
    return (match[1] or match[2]) if match else ""


def behind(newest_at: datetime | None, now: datetime, limit: timedelta) -> str:
    """Return what to report if the newest WAL is older than the limit, else nothing."""
    if newest_at is None:
        return "the repository has no WAL since its newest backup"
    if now - newest_at <= limit:
        return ""
    return (
        f"the newest WAL arrived {format_duration(now - newest_at)} ago: the server writes nothing, or does not archive"
    )


def missing_wal(ended_in: str, archived: Iterable[str]) -> str:
    """Return what to report if a recovery ended in a segment before the newest of the archive, else nothing."""
    newest = newest_segment(archived)
    if ended_in[8:] >= newest[8:]:
        return ""
    return (
        f"recovery ended in WAL segment {ended_in}, but the repository has WAL up to {newest}: a segment between them "
        "is missing or damaged, so no later moment can be restored from this backup; make a new one"
    )
