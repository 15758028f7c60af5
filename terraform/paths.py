"""Where a stack's files are: its code, shared by all environments, and what belongs to one environment alone."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCK_FILE = ".terraform.lock.hcl"
"""Which providers a stack has, beside its code: Terraform writes it, and it is committed."""


@dataclass(frozen=True, slots=True)
class StackPaths:
    """One stack in one environment."""

    root: Path
    environment: str
    stack: str

    @property
    def name(self) -> str:
        """As people call it."""
        return f"{self.environment}/{self.stack}"

    @property
    def folder(self) -> Path:
        """The code."""
        return self.root / "terraform" / "stacks" / self.stack

    @property
    def cache(self) -> Path:
        """What all stacks share on this machine: beside the code, or at home where that may not be written to."""
        beside = self.root / ".cache"
        if os.access(beside if beside.exists() else self.root, os.W_OK):
            return beside / "terraform"
        return Path.home() / ".cache" / "groundcrew" / "terraform"

    @property
    def own(self) -> Path:
        """What Terraform keeps for this stack in this environment, so that environments never mix."""
        return self.cache / self.environment / self.stack

    @property
    def var_files(self) -> tuple[Path, ...]:
        """The values of this environment: those of all its stacks, then the stack's own."""
        values = self.root / "terraform" / "environments" / self.environment
        return tuple(file for file in (values / "all.tfvars", values / f"{self.stack}.tfvars") if file.is_file())

    def code(self) -> str:
        """A hash that changes with the code or its values, and with whatever lies beside it: code reads files too."""
        folders = (self.folder, self.root / "terraform" / "modules")
        files = [file for folder in folders for file in folder.rglob("*") if _is_code(file.relative_to(folder), file)]
        hashed = hashlib.sha256()
        for file in sorted({*files, *self.var_files}):
            hashed.update(f"{file.relative_to(self.root)}\0".encode() + file.read_bytes() + b"\0")
        return hashed.hexdigest()

    def providers(self) -> str:
        """A hash that changes with the providers that are asked for: init makes it, or somebody else's commit."""
        file = self.folder / LOCK_FILE
        return hashlib.sha256(file.read_bytes() if file.is_file() else b"").hexdigest()

    @contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        """While inside, no other process of this machine sets this stack's folder up."""
        with file_lock(self.own.parent / f"{self.stack}.lock", alone=alone):
            yield


def _is_code(inside: Path, file: Path) -> bool:
    """Dot-files are what programs keep for themselves, and so is what editors leave behind."""
    return not any(part.startswith(".") for part in inside.parts) and not file.name.endswith("~") and file.is_file()


@contextmanager
def file_lock(file: Path, *, alone: bool) -> Iterator[None]:
    """Hold a lock file of this machine, alone or with others; it ends with the process, however that ends."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)
