"""Run pgBackRest: what a stanza has, its files, and its WAL. Its configuration has the secrets; we pass its path."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from inventories import hide
from jobs import embedded
from jobs.pitr.stanza import (
    SEGMENT_BYTES,
    Archive,
    BaseBackup,
    PitrError,
    Stanza,
    parse_archive,
    parse_folders,
    parse_stanzas,
    short_reason,
)
from jobs.run.job import Transient

if TYPE_CHECKING:
    from inventories import PitrSettings
    from jobs.run.job import Run

_LARGEST_OUTPUT = 256 * 1024 * 1024
_FETCHES = 4  # WAL segments at once
_SECRET_LINE = re.compile(
    r"^[ \t]*repo\d*-(?:cipher-pass|azure-key|gcs-key(?![ \t]*=[ \t]*/)|s3-(?:key|key-secret|token|sse-customer-key)"
    r"|sftp-private-key-passphrase)[ \t]*=[ \t]*(.*\S)",
    re.MULTILINE,
)
# Errors that pass: no connection to the host, or no answer in time.
_PASSING = re.compile(r"HostConnectError|\[049\]|timeout after|Temporary failure in name resolution")


@dataclass(frozen=True, slots=True)
class Pgbackrest:
    """How pgBackRest is called for one stanza. As root, it runs as the owner of its configuration."""

    stanza: str
    config: Path
    account: tuple[int, int] | None

    def command(self, name: str, *options: str, repository: int | None = None, console: str = "off") -> list[str]:
        """Return a command, which writes no log file and has no secret in its arguments."""
        of = [] if repository is None else [f"--repo={repository}"]
        logs = ["--log-level-file=off", f"--log-level-console={console}", "--log-level-stderr=error"]
        return ["pgbackrest", name, f"--config={self.config}", f"--stanza={self.stanza}", *of, *logs, *options]

    @property
    def start(self) -> list[str]:
        """The start of a command line that only reads the repository."""
        return embedded.as_account(self.account) if self.account else []

    def sandboxed_start(self, folder: Path) -> list[str]:
        """Return the start of a command line that writes to one folder only, whatever the repository has."""
        return embedded.writing_only(folder, self.account or (os.geteuid(), os.getegid()))


def find_pgbackrest(settings: PitrSettings) -> Pgbackrest:
    """Return how to call pgBackRest here; PitrError if it is not installed or its configuration cannot be read."""
    if shutil.which("pgbackrest") is None:
        raise PitrError("pgBackRest is not installed on this machine; install pgbackrest")
    config = settings.config
    try:
        text, owner = config.read_text(), config.stat()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise PitrError(
            f"{config}: {reason}; write there which repository has the stanza, or correct config in the file"
        ) from None
    for value in _SECRET_LINE.findall(text):
        hide(value)
    account = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None
    return Pgbackrest(settings.stanza, config, account)


def read_stanzas(run: Run, program: Pgbackrest, seconds: float = 20) -> tuple[Stanza, ...]:
    """Return what each repository has. A server that does not answer costs at most these seconds a repository."""
    info = program.command("info", "--output=json", f"--io-timeout={seconds:g}")
    return parse_stanzas(_output(run, [*program.start, *info]), program.stanza)


def require_readable(stanza: Stanza) -> BaseBackup:
    """Return the newest backup; raise if the repository cannot be read or has none."""
    if stanza.newest is None or stanza.fault:
        message = f"repository {stanza.repository} of stanza {stanza.name}: {stanza.fault}"
        raise Transient(message) if _PASSING.search(stanza.fault) else PitrError(message)
    return stanza.newest


def list_wal(run: Run, program: Pgbackrest, stanza: Stanza, first_segment: str) -> Archive:
    """Return the WAL that the repository has from a segment on."""
    if not stanza.archive_id:
        return Archive((), None)

    def listing(*folder: str) -> bytes:
        path = "/".join(["archive", program.stanza, stanza.archive_id, *folder])
        command = program.command("repo-ls", "--output=json", path, repository=stanza.repository)
        return _output(run, [*program.start, *command])

    top = listing()
    below = (listing(folder) for folder in parse_folders(top, first_segment))
    return parse_archive([top, *below], first_segment, datetime.now(UTC))


def restore_files(run: Run, program: Pgbackrest, stanza: Stanza, backup: BaseBackup, folder: Path) -> None:
    """Restore the files of a backup below a folder. Nothing of the repository is executed, and no link leaves it."""
    if program.account:
        os.chown(folder, *program.account)
    inside = embedded.INSIDE
    options = [f"--set={backup.label}", "--type=none", f"--pg1-path={inside}/data", f"--lock-path={inside}/lock"]
    options += [f"--tablespace-map-all={inside}/tablespaces", "--archive-mode=off"]
    options += [f"--spool-path={inside}/spool"]  # it empties that of the stanza, and Debian's belongs to postgres
    command = program.command("restore", *options, repository=stanza.repository)
    _output(run, [*program.sandboxed_start(folder), *command])


def fetch_wal(run: Run, program: Pgbackrest, stanza: Stanza, archive: Archive, folder: Path) -> None:
    """Put the WAL into the restored cluster, so that its server needs no program and no network to find it."""
    inside = embedded.INSIDE
    start = program.sandboxed_start(folder)
    options = [f"--pg1-path={inside}/data", f"--lock-path={inside}/lock", "--no-archive-async"]

    def fetch(name: str) -> None:
        target = f"{inside}/data/pg_wal/{name}"
        # That a segment is missing is no error to pgBackRest: it says so at the level info.
        command = program.command("archive-get", *options, name, target, repository=stanza.repository, console="info")
        _output(run, [*start, *command])

    with ThreadPoolExecutor(_FETCHES) as pool:
        try:
            for number, _ in enumerate(pool.map(fetch, archive.files), 1):
                run.progress("WAL", number * SEGMENT_BYTES, archive.bytes)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _output(run: Run, argv: Sequence[str]) -> bytes:
    """Run pgBackRest and return what it prints; raise with its own reason if it fails."""
    with tempfile.TemporaryFile() as errors:
        process = run.process(argv, stdout=subprocess.PIPE, stderr=errors, cwd="/")
        assert process.stdout is not None
        with process.stdout as stdout:
            output = stdout.read(_LARGEST_OUTPUT + 1)
        if len(output) > _LARGEST_OUTPUT:
            process.kill()
        code = process.wait()
        run.check()
        errors.seek(0)
        said = errors.read(50_000).decode(errors="replace")
    if len(output) > _LARGEST_OUTPUT:
        raise PitrError(f"pgBackRest printed more than {_LARGEST_OUTPUT // 1_000_000} MB")
    if code:
        # Since pgBackRest 2.53, errors in its configuration are on stdout.
        reason = short_reason(said, output[-50_000:].decode(errors="replace"))
        message = f"pgBackRest failed with exit code {code}: {reason}"
        raise Transient(message) if _PASSING.search(reason) else PitrError(message)
    return output
