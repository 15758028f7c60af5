"""What a repository has, from the output of pgBackRest 2.45, and from output that nobody should trust."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.pitr.stanza import (
    Archive,
    BaseBackup,
    PitrError,
    Stanza,
    behind,
    choose_repository,
    gap,
    missing_wal,
    parse_archive,
    parse_folders,
    parse_stanzas,
    short_reason,
)

NOW = datetime(2026, 11, 30, 7, tzinfo=UTC)
FULL, INCR = "20261130-061227F", "20261130-061227F_20261130-063000I"


def backup(label: str, stop: int, start: str, key: int = 1, **more: Any) -> dict[str, Any]:
    entry = {
        "archive": {"start": start, "stop": start},
        "database": {"id": 1, "repo-key": key},
        "error": False,
        "info": {"size": 29103892, "repository": {"size": 3487168}},
        "label": label,
        "timestamp": {"start": stop - 2, "stop": stop},
    }
    return {**entry, **more}


def info(**more: Any) -> dict[str, Any]:
    entry = {
        "archive": [{"database": {"id": 1, "repo-key": 1}, "id": "15-1", "max": f"{3:024X}", "min": f"{1:024X}"}],
        "backup": [backup(INCR, 1796025600, f"{3:024X}"), backup(FULL, 1796022749, f"{2:024X}")],
        "cipher": "aes-256-cbc",
        "db": [{"id": 1, "repo-key": 1, "system-id": 7713858946029294811, "version": "15"}],
        "name": "main",
        "repo": [{"cipher": "aes-256-cbc", "key": 1, "status": {"code": 0, "message": "ok"}}],
        "status": {"code": 0, "message": "ok"},
    }
    return {**entry, **more}


def parsed(entry: Any) -> tuple[Stanza, ...]:
    return parse_stanzas(json.dumps([entry]).encode(), "main")


def test_a_stanza() -> None:
    full = BaseBackup(FULL, datetime.fromtimestamp(1796022749, UTC), 29103892, f"{2:024X}")
    incr = BaseBackup(INCR, datetime.fromtimestamp(1796025600, UTC), 29103892, f"{3:024X}")
    assert parsed(info()) == (Stanza("main", 1, "", 15, "15-1", f"{3:024X}", (full, incr)),)
    assert parsed(info())[0].newest == incr


def status(code: int, message: str, key: int = 1) -> dict[str, Any]:
    return {"cipher": "aes-256-cbc", "key": key, "status": {"code": code, "message": message}}


NOISE = (
    "[FormatError] unable to load info file '/r/backup.info'\nFormatError: key/value found outside of section: \x1b[31m"
)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"repo": [status(1, "missing stanza path")]}, "missing stanza path"),
        ({"repo": [status(99, NOISE)]}, "it can't be decrypted; is the key in its configuration right (cipher-pass)?"),
        ({"repo": [status(99, "[X] a\nHINT: b\n\x1b[31mc")]}, "[X] a \\x1b[31mc"),
        ({"repo": [status(2, "no valid backups")], "backup": []}, "it has no backup yet"),
        ({"backup": [backup(FULL, 1796022749, f"{2:024X}", error=True)]}, "it has no backup yet"),
        ({"db": []}, "it has no server; was the stanza created?"),
        (
            {"db": [{"id": 1, "repo-key": 1, "version": "9.6"}]},
            "its server is PostgreSQL 9; verifications need 13 or newer",
        ),
    ],
)
def test_why_nothing_can_be_restored(change: dict[str, Any], fault: str) -> None:
    [stanza] = parsed(info(**change))
    assert stanza.fault == fault


def test_noise_of_a_wrong_key_is_no_json() -> None:
    output = json.dumps([info(repo=[status(99, NOISE)])]).encode().replace(b"\\u001b", b"\x1b\x01\xff")
    assert "can't be decrypted" in parse_stanzas(output, "main")[0].fault


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b"[1]",
        b"[" * 100_000,
        b"\xff\xfe",
        json.dumps([info(repo="x")]).encode(),
        json.dumps([info(db=[{"id": "x"}])]).encode(),
        json.dumps([info(backup=[backup("../../etc", 1, f"{2:024X}")])]).encode(),
        json.dumps([info(backup=[backup("--type=immediate", 1, f"{2:024X}")])]).encode(),
        json.dumps([info(backup=[backup(FULL, 10**30, f"{2:024X}")])]).encode(),
        json.dumps([info(backup=[backup(FULL, 1, "$(id)")])]).encode(),
        json.dumps([info(archive=[{"database": {"id": 1, "repo-key": 1}, "id": "../x", "max": f"{3:024X}"}])]).encode(),
        json.dumps([info(archive=[{"database": {"id": 1, "repo-key": 1}, "id": "15-1", "max": "; id"}])]).encode(),
    ],
)
def test_hostile_output_is_refused(output: bytes) -> None:
    with pytest.raises(PitrError, match="pgBackRest printed something else than its state"):
        parse_stanzas(output, "main")


def test_the_first_repository_with_a_backup_is_chosen() -> None:
    broken, whole = Stanza("main", 1, "missing stanza path"), Stanza("main", 2)
    assert choose_repository((broken, whole), None) is whole
    assert choose_repository((broken, whole), 1) is broken
    with pytest.raises(PitrError, match="its configuration has no repository 3; it has: 1, 2"):
        choose_repository((broken, whole), 3)


def listing(*names: str) -> bytes:
    entries = {name: {"type": "file", "size": 1, "time": 1796022749 + turn} for turn, name in enumerate(names)}
    return json.dumps({".": {"type": "path"}, **entries}).encode()


HASH = "0a" * 20


def test_the_wal_that_a_recovery_needs() -> None:
    one, two, three = (f"00000001000000000000000{number}" for number in (1, 2, 3))
    later = "000000020000000000000003"
    names = [f"15-1/{name[:16]}/{name}-{HASH}.zst" for name in (three, one, two, later)]
    others = [f"15-1/{two[:16]}/{two}.00000028.backup", f"{two}.partial-{HASH}.zst", "00000002.history", "archive.info"]
    found = parse_archive([b"{}", listing(*names, *others, f"../../{two};id-{HASH}")], two, NOW)
    assert found == Archive(("00000002.history", two, three, later), datetime.fromtimestamp(1796022752, UTC))
    assert found.bytes == 4 * 16 * 1024 * 1024
    assert parse_archive([b"{}"], two, NOW) == Archive((), None)


def test_directories_of_the_archive() -> None:
    output = listing(
        "0000000100000000", "0000000100000002", "0000000200000001", "../0000000100000003", "00000002.history"
    )
    assert parse_folders(output, "0000000100000001000000FE") == ["0000000100000002", "0000000200000001"]
    with pytest.raises(PitrError, match="listed its archive in another way"):
        parse_folders(b"{", "")


def test_a_missing_segment() -> None:
    names = [f"{number:024X}-{HASH}" for number in (1, 2, 4, 5)]
    later = datetime.fromtimestamp(1796022749, UTC) + timedelta(hours=1)
    found = parse_archive([listing(*names)], f"{1:024X}", later)
    assert found.missing == f"{3:024X}"
    assert gap(found).startswith("WAL segment 000000000000000000000003 is missing")
    assert gap(parse_archive([listing(*names)], f"{4:024X}", later)) == ""
    just_now = datetime.fromtimestamp(1796022752, UTC)
    assert gap(parse_archive([listing(*names)], f"{1:024X}", just_now)) == ""


@pytest.mark.parametrize("output", [b"", b"[1]", b'{"a": 1', listing(f"{1:024X}-{HASH}").replace(b"1796", b"[1],")])
def test_a_hostile_listing_is_refused(output: bytes) -> None:
    with pytest.raises(PitrError, match="listed its archive in another way"):
        parse_archive([output], f"{1:024X}", NOW)


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (None, "the repository has no WAL since its newest backup"),
        (timedelta(minutes=59), ""),
        (timedelta(hours=3), "the newest WAL arrived 3 h ago: the server writes nothing, or does not archive"),
        (timedelta(hours=-3), ""),
    ],
)
def test_an_archive_that_is_behind(age: timedelta | None, text: str) -> None:
    assert behind(NOW - age if age is not None else None, NOW, timedelta(hours=1)) == text


@pytest.mark.parametrize(
    ("ended", "archived", "missing"),
    [
        (f"{3:024X}", [f"{1:024X}", f"{3:024X}"], False),
        ("000000020000000000000003", ["000000010000000000000003", "00000002.history"], False),
        (f"{2:024X}", [f"{1:024X}", f"{4:024X}"], True),
        (f"{2:024X}", [], False),
    ],
)
def test_a_gap_in_the_wal(ended: str, archived: list[str], missing: bool) -> None:
    assert bool(missing_wal(ended, archived)) is missing


WARNING = "P00   WARN: configuration file contains invalid option 'bogus'\n"


def test_warnings_before_json_are_skipped() -> None:
    """PgBackRest 2.53 and newer print what they think of their configuration to stdout."""
    assert parse_stanzas(WARNING.encode() + json.dumps([info()]).encode(), "main") == parsed(info())
    assert parse_folders(WARNING.encode() + b'{"0000000100000000":{"type":"path"}}', f"{2:024X}") == [f"{1 << 32:016X}"]


@pytest.mark.parametrize(
    ("stderr", "stdout", "reason"),
    [
        ("", "", "pgBackRest gave no reason"),
        ("WARN: w\nERROR: [055]: no file\n", "[]", "ERROR: [055]: no file"),
        (
            "",
            f"{WARNING}P00  ERROR: [032]: 'xx' is not allowed\n            HINT: allowed are 'none'\n",
            "ERROR: [032]: 'xx' is not allowed",
        ),
        ("", WARNING, WARNING.removeprefix("P00   ").strip()),
        (
            "",
            "2026-11-30 14:33:03.123 P00   INFO: archive-get command begin 2.45: [a, b] --config=c\n"
            "2026-11-30 14:33:03.125 P00   INFO: unable to find a in the archive\n"
            "2026-11-30 14:33:03.125 P00   INFO: archive-get command end: completed successfully (3ms)\n",
            "INFO: unable to find a in the archive",
        ),
        (
            "ERROR: [029]: missing '=' in key/value at line 3: repo1-cipher-pass: hush",
            "",
            "ERROR: [029]: missing '=' in key/value at line 3",
        ),
        (
            "",
            "P00  ERROR: [029]: key/value found outside of section at line 1: repo1-cipher-pass=hush: hush",
            "ERROR: [029]: key/value found outside of section at line 1",
        ),
        ("ERROR: [029]: key is zero-length at line 7: =hush", "", "ERROR: [029]: key is zero-length at line 7"),
    ],
)
def test_the_reason_of_a_failure(stderr: str, stdout: str, reason: str) -> None:
    """It may be on stdout, and never has a line of the configuration, which may be a secret."""
    assert short_reason(stderr, stdout) == reason


def test_a_reason_is_short() -> None:
    assert len(short_reason("x" * 5000)) == 301
