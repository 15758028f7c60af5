"""A directory as the store: for one machine, and for trying groundcrew without an S3 server.

A key is a file at the same path, so that sets can be read with plain tools. Two names are the store's
own: `%lock`, held for the instant in which something becomes visible, and `%open`, where what is not
complete yet lies. A crash leaves files there and nowhere else.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from jobs.store.interface import (
    Changed,
    Denied,
    Exists,
    ListedKey,
    ListedPrefix,
    Missing,
    NotDeleted,
    OpenUpload,
    StoredObject,
    StoredPiece,
    StoredStream,
    StoreError,
    Upload,
)
from jobs.store.paths import CONTINUED_SUFFIX, FILE_SUFFIX, file_names, key_level

READ_SIZE = 1 << 20
_LOCK = "%lock"
_OPEN = "%open"
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is too big",
}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}


class DirectoryStore:
    """Objects are files below one directory."""

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        self.root = root

    def get(self, key: str) -> StoredObject:
        with self._told(key), self._file(key).open("rb") as file:
            return StoredObject(file.read(), _version(os.fstat(file.fileno())))

    def create(self, key: str, body: bytes) -> str:
        def only_if_absent(place: Path) -> None:
            if place.exists():
                raise Exists(f"{self.url}: {key} exists already")

        return self._write(key, body, only_if_absent)

    def replace(self, key: str, body: bytes, version: str) -> str:
        def only_if_unchanged(place: Path) -> None:
            if _version(place.stat()) != version:
                raise Changed(f"{self.url}: {key} was changed by somebody else")

        return self._write(key, body, only_if_unchanged)

    def put(self, key: str, body: bytes) -> str:
        return self._write(key, body)

    def upload(self, key: str) -> Upload:
        with self._told(key):
            return DirectoryUpload(self, key, self._begun(key))

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with self._told(key), self._file(key).open("rb") as file:
            left = os.fstat(file.fileno()).st_size if end is None else end
            left -= file.seek(start)
            while left > 0 and (chunk := file.read(min(READ_SIZE, left))):
                left -= len(chunk)
                yield chunk

    def list(self, prefix: str = "") -> Iterator[ListedKey]:
        with self._told(prefix):
            above, begin = _split(prefix)
            yield from _entries(self._folder(above), above, begin)

    def folders(self, prefix: str = "") -> Iterator[ListedKey | ListedPrefix]:
        with self._told(prefix):
            above, begin = _split(prefix)
            for level, place in _inside(self._folder(above)):
                if not level.startswith(begin):
                    continue
                if not level.endswith("/"):
                    yield from _entry(above + level, place)
                elif any(_entries(place, "")):
                    yield ListedPrefix(above + level)

    def delete(self, keys: Iterable[str]) -> Sequence[NotDeleted]:
        refused = []
        for key in keys:
            try:
                with self._told(key):
                    self._remove(key)
            except Missing:
                continue
            except StoreError as error:
                refused.append(NotDeleted(key, str(error)))
        return refused

    def purge_versions(self, prefix: str) -> tuple[int, Sequence[NotDeleted]]:  # noqa: ARG002
        """A directory keeps nothing of what was deleted."""
        return 0, ()

    def open_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        with self._told(prefix):
            for noted in sorted((self.root / _OPEN).glob("*/key")):
                with suppress(FileNotFoundError):  # ended while we looked
                    key, since = noted.read_bytes().decode(), noted.stat().st_mtime
                    if key.startswith(prefix):
                        yield OpenUpload(key, noted.parent.name, datetime.fromtimestamp(since, UTC))

    def abort_upload(self, upload: OpenUpload) -> None:
        with self._told(upload.key):
            self._forget(self.root / _OPEN / upload.id)

    def require_conditional_writes(self) -> None:
        """A directory always keeps them: every write becomes visible under one lock."""

    def _write(self, key: str, body: bytes, only_if: Callable[[Path], None] | None = None) -> str:
        with self._told(key):
            begun = self._begun(key)
            try:
                _write_file(begun / "body", body)
                return self._publish(key, begun / "body", only_if)
            finally:
                self._forget(begun)

    def _begun(self, key: str) -> Path:
        """A folder of its own for something that is not complete yet, with the key it is meant for."""
        _make_folders(self.root / _OPEN)
        begun = self.root / _OPEN / secrets.token_hex(12)
        begun.mkdir(mode=0o700)
        try:
            with os.fdopen(_new_file(begun / "key"), "wb") as noted:
                noted.write(key.encode())
        except OSError:
            self._forget(begun)
            raise
        return begun

    def _forget(self, begun: Path) -> None:
        with suppress(FileNotFoundError):
            for left in ("body", "key"):
                (begun / left).unlink(missing_ok=True)
            begun.rmdir()

    def _publish(self, key: str, body: Path, only_if: Callable[[Path], None] | None = None) -> str:
        with self._locked():
            place = self._file(key)
            if only_if:
                only_if(place)
            _make_folders(place.parent)
            now = time.time_ns()  # the file system's own clock may be too coarse to tell two writes apart
            os.utime(body, ns=(now, now))
            version = _version(body.stat())
            body.rename(place)
            _sync_folder(place.parent)
        return version

    def _remove(self, key: str) -> None:
        with self._locked():
            place = self._file(key)
            place.unlink()
            _sync_folder(place.parent)
            for folder in place.parents:
                if folder == self.root or not _removed_empty(folder):
                    break

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _folder(self, above: str) -> Path:
        folder = self.root
        for level in above.split("/")[:-1]:
            folder = _among(folder, level, Path.is_dir, but_not=Path.is_file)
        return folder

    def _file(self, key: str) -> Path:
        above, last = _split(key)
        return _among(self._folder(above), last, Path.is_file, but_not=Path.is_dir)

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(key, error) from error

    def _error(self, key: str, error: OSError) -> StoreError:
        if error.errno in _NOT_THERE:
            return Missing(f"{self.url}: there is no {key}")
        if error.errno in _REFUSED:
            return Denied(f"{self.url}: {key}: {error.strerror}; let user {os.geteuid()} read and write there")
        if error.errno in _FULL:
            return StoreError(f"{self.url}: {key}: {_FULL[error.errno]}; make room, or use another place")
        return StoreError(f"{self.url}: {key}: {error.strerror or error}")


class DirectoryUpload:
    """A stream into one file, out of sight until it is complete."""

    def __init__(self, store: DirectoryStore, key: str, begun: Path) -> None:
        self._store, self._key, self._begun = store, key, begun
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._fd = _new_file(begun / "body")

    def write(self, body: bytes | memoryview) -> int:
        with self._store._told(self._key):
            _write_all(self._fd, body)
        self._sha256.update(body)
        self._size += len(body)
        return len(body)

    def complete(self) -> StoredStream:
        piece = StoredPiece(f"{self._key}.0", self._size)
        with self._store._told(self._key):
            os.fsync(self._fd)
            if os.fstat(self._fd).st_size != self._size:
                raise StoreError(f"{self._store.url}: {piece.key} is not {self._size} bytes long as it should be")
            self._store._publish(piece.key, self._begun / "body")
        self.abort()
        return StoredStream((piece,), self._size, self._sha256.hexdigest())

    def abort(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._store._forget(self._begun)

    def __enter__(self) -> DirectoryUpload:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()


def _split(prefix: str) -> tuple[str, str]:
    """The whole levels of a prefix, and what the next level must begin with."""
    above, slash, begin = prefix.rpartition("/")
    return above + slash, begin


def _among(folder: Path, level: str, kind: Callable[[Path], bool], but_not: Callable[[Path], bool]) -> Path:
    """The path of one level. Where a file and a folder want one name, the later one stands beside it as `…%`."""
    plain = folder.joinpath(*file_names(level))
    beside = plain.with_name(plain.name + FILE_SUFFIX)
    return beside if kind(beside) or but_not(plain) else plain


def _entries(folder: Path, above: str, begin: str = "") -> Iterator[ListedKey]:
    for level, place in _inside(folder):
        if not level.startswith(begin):
            continue
        if level.endswith("/"):
            yield from _entries(place, above + level)
        else:
            yield from _entry(above + level, place)


def _entry(key: str, place: Path) -> Iterator[ListedKey]:
    try:
        seen = place.stat()
    except FileNotFoundError:  # deleted while we looked
        return
    yield ListedKey(key, seen.st_size, datetime.fromtimestamp(seen.st_mtime, UTC), _version(seen))


def _inside(folder: Path) -> list[tuple[str, Path]]:
    """What lies in a folder, in the order of keys; a folder's level ends with a slash."""
    return sorted((key_level(names) + slash, place) for names, slash, place in _named(folder, []))


def _named(folder: Path, before: list[str]) -> Iterator[tuple[list[str], str, Path]]:
    try:
        found = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for one in found:
        if one.name in (_LOCK, _OPEN):
            continue
        if one.name.endswith(CONTINUED_SUFFIX):
            yield from _named(folder / one.name, [*before, one.name])
        else:
            yield [*before, one.name], "/" if one.is_dir() else "", folder / one.name


def _version(seen: os.stat_result) -> str:
    return f"{seen.st_mtime_ns:x}-{seen.st_ino:x}-{seen.st_size:x}"


def _new_file(place: Path) -> int:
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write_all(fd: int, body: bytes | memoryview) -> None:
    left = memoryview(body)
    while left:
        left = left[os.write(fd, left) :]


def _write_file(place: Path, body: bytes) -> None:
    fd = _new_file(place)
    try:
        _write_all(fd, body)
        os.fsync(fd)
    finally:
        os.close(fd)


def _make_folders(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _removed_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
