"""The paths of a stack: its code, which all environments share, and the files of one environment."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = ".terraform.lock.hcl"
"""The file beside the code that pins provider versions. Terraform writes it; it belongs in the repository."""


@dataclass(frozen=True, slots=True)
class StackPaths:
    """The paths of one stack in one environment."""

    root: Path
    environment: str
    stack: str
    checkout: Path | None = None
    """The repository whose cache is used, if `root` is a temporary directory with the code of another commit."""

    @property
    def repository(self) -> Path:
        """The repository that crew runs in."""
        return self.checkout or self.root

    @property
    def name(self) -> str:
        """The name that users see, such as staging/network."""
        return f"{self.environment}/{self.stack}"

    @property
    def folder(self) -> Path:
        """The directory with the stack's code."""
        return self.root / "terraform" / "stacks" / self.stack

    @property
    def cache(self) -> Path:
        """The cache of all stacks: in the repository, or in the home directory if the repository is read-only."""
        beside = self.repository / ".cache"
        if os.access(beside if beside.exists() else self.repository, os.W_OK):
            return beside / "terraform"
        return Path.home() / ".cache" / "groundcrew" / "terraform"

    @property
    def data_folder(self) -> Path:
        """Terraform's data directory for this stack in this environment, so that environments never mix."""
        return (self.root / ".data" if self.checkout else self.cache) / self.environment / self.stack

    @property
    def var_files(self) -> tuple[Path, ...]:
        """The .tfvars files of this environment: first the one for all its stacks, then the one for this stack."""
        values = self.root / "terraform" / "environments" / self.environment
        return tuple(file for file in (values / "all.tfvars", values / f"{self.stack}.tfvars") if file.is_file())

    def code_hash(self) -> str:
        """Return a hash of the code, its values and all files beside the code, since Terraform code can read files."""
        folders = (self.folder, self.root / "terraform" / "modules")
        files = [file for folder in folders for file in folder.rglob("*") if _is_code(file.relative_to(folder), file)]
        hashed = hashlib.sha256()
        for file in sorted({*files, *self.var_files}):
            hashed.update(f"{file.relative_to(self.root)}\0".encode() + file.read_bytes() + b"\0")
        return hashed.hexdigest()

    def provider_hash(self) -> str:
        """Return a hash of the provider lock file, which `init` or a pulled commit can change."""
        file = self.folder / LOCK_FILE
        return hashlib.sha256(file.read_bytes() if file.is_file() else b"").hexdigest()

    @contextmanager
    def locked(self, *, exclusive: bool, on_wait: Callable[[], object]) -> Iterator[None]:
        """While inside, no other process on this machine runs `init` for this stack."""
        with file_lock(self.data_folder.parent / f"{self.stack}.lock", exclusive=exclusive, on_wait=on_wait):
            yield


def _is_code(inside: Path, file: Path) -> bool:
    """Return whether a file counts as code; hidden files and editor backups do not."""
    return not any(part.startswith(".") for part in inside.parts) and not file.name.endswith("~") and file.is_file()


@contextmanager
def file_lock(file: Path, *, exclusive: bool, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold a lock file, exclusive or shared; the system releases the lock when the process ends.

    `on_wait` is called if another process holds it.
    """
    operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, operation)
        yield
    finally:
        os.close(handle)
