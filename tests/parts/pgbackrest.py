"""A PostgreSQL server that archives to a repository in a folder, with the real pgBackRest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.parts import memory, postgres

STANZA = "main"
CIPHER = "c1pher-of-these-tests"
ASYNC = "archive-async=y\narchive-push-queue-max=64MiB\n"


@dataclass(frozen=True)
class Archiving:
    """The server, and the configuration of its pgBackRest."""

    server: postgres.Server
    config: Path

    @property
    def folder(self) -> Path:
        return self.config.parent

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run pgBackRest as the server's user."""
        command = ["pgbackrest", f"--config={self.config}", f"--stanza={STANZA}", *arguments]
        return subprocess.run(_as_owner(self.config, command), capture_output=True, text=True, check=check, cwd="/")

    def run(self, *statements: str, database: str = "postgres") -> None:
        with self.server.connect(database) as connection:
            for statement in statements:
                connection.execute(statement)

    def give(self, path: Path) -> None:
        """Let the server's user own a file."""
        owner = self.config.stat()
        os.chown(path, owner.st_uid, owner.st_gid)

    def archive(self) -> None:
        """Send all WAL to the repository."""
        self.call("check")


def _as_owner(file: Path, command: list[str]) -> list[str]:
    if os.geteuid() != 0:
        return command
    owner = file.stat()
    return ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups", "--", *command]


@contextmanager
def archiving(major: int, more: str = "") -> Iterator[Archiving]:
    """Start a server that sends its WAL to an encrypted repository; `more` goes into pgBackRest's configuration."""
    with (
        TemporaryDirectory(prefix="archiving-", dir=memory.DISK) as name,
        _archiving(major, Path(name), more) as server,
    ):
        yield server


@contextmanager
def _archiving(major: int, folder: Path, more: str) -> Iterator[Archiving]:
    folder.chmod(0o755)  # the server's user is not root
    config = folder / "pgbackrest.conf"
    command = f"pgbackrest --config={config} --stanza={STANZA} archive-push %p"
    settings = {"archive_mode": "on", "archive_command": command, "wal_level": "replica", "full_page_writes": "on"}
    config.touch(0o640)
    with postgres.start(major, folder, settings) as server:
        owner = server.running.data.stat()
        config.write_text(_configuration(folder, server, more))
        for each in (folder, config):
            os.chown(each, owner.st_uid, owner.st_gid)
        passfile = folder / "pgpass"  # libpq reads only its user's own
        passfile.touch(0o600)
        passfile.write_text(server.passfile.read_text())
        os.chown(passfile, owner.st_uid, owner.st_gid)
        made = Archiving(server, config)
        os.environ["PGPASSFILE"] = str(passfile)
        try:
            made.call("stanza-create")
            yield made
        finally:
            del os.environ["PGPASSFILE"]


def _configuration(folder: Path, server: postgres.Server, more: str) -> str:
    paths = "".join(f"{name}-path={folder / name}\n" for name in ("lock", "log", "spool"))
    return (
        f"[global]\n{paths}repo1-path={folder / 'repository'}\nrepo1-bundle=y\nrepo1-cipher-type=aes-256-cbc\n"
        f"repo1-cipher-pass={CIPHER}\nrepo1-retention-full=9\nstart-fast=y\ncompress-type=zst\nlog-level-file=off\n"
        f"archive-timeout=120\n{more}[{STANZA}]\npg1-path={server.running.data}\n"
        f"pg1-socket-path={server.running.socket}\npg1-port={server.port}\npg1-user=postgres\n"
    )
