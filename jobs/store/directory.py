"""A directory as the store: for one machine, and to try groundcrew without an S3 server.

A key is a file at the same path, so that plain tools can read backup sets. Three names are reserved. `%lock` is a lock
file, held while a file becomes visible. `%open` holds incomplete files. A crash leaves files only there. `%spare`
reserves a megabyte: on a full disk it makes room for small objects, so that retention gets its lock and frees the disk.

Below its root the store follows no symbolic link and opens only regular files. Otherwise, a user with write access to
the store could reach other files through it. The root itself can be a link.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from jobs import log
from jobs.store.interface import (
    DOCUMENT_LIMIT,
    Changed,
    Denied,
    Exists,
    ListedKey,
    ListedPrefix,
    LockProof,
    Missing,
    NotDeleted,
    NoVersions,
    ObjectLock,
    OpenUpload,
    PastStore,
    StoredObject,
    StoredPiece,
    StoredStream,
    StoreError,
    Upload,
    require_hash,
    too_large,
)
from jobs.store.paths import CONTINUED_SUFFIX, FILE_SUFFIX, file_names, key_level

T = TypeVar("T")

READ_SIZE = 1 << 20
_LOCK_FILE = "%lock"
_OPEN_FOLDER = "%open"
_SPARE_FILE = "%spare"
SPARE = 1 << 20
SPARE_STEP = 32 << 10
"""Bytes of the spare file that are released at once; a run needs less for its lock, record and alerts."""

FREE_FOR_SPARE = 16 * SPARE
"""Free bytes of the disk from which on the spare file is filled up again."""
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is too big",
}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}


class DirectoryStore:
    """A store whose objects are files below one directory."""

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        self.root = root

    def prepare(self) -> None:
        with self._translated_errors("its directory"):
            _make_folders(self.root)

    def get(self, key: str, limit: int = DOCUMENT_LIMIT) -> StoredObject:
        with self._translated_errors(key), self._opened_file(self._file(key)) as file:
            found = os.fstat(file.fileno())
            if found.st_size > limit:
                raise too_large(self.url, key, limit)
            return StoredObject(file.read(found.st_size), _version(found))

    def create(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        self._require_no_lock(lock)

        def require_absent(file: Path) -> None:
            if os.path.lexists(file):
                raise Exists(f"{self.url}: {key} exists already")

        return self._write(key, body, require_absent)

    def replace(self, key: str, body: bytes, version: str) -> str:
        def require_unchanged(file: Path) -> None:
            if _version(os.lstat(file)) != version:
                raise Changed(f"{self.url}: {key} was changed by another writer")

        return self._write(key, body, require_unchanged)

    def put(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        self._require_no_lock(lock)
        return self._write(key, body)

    @property
    def largest_piece(self) -> None:
        return None

    def upload(self, key: str, first: int = 0, *, lock: ObjectLock | None = None) -> Upload:
        self._require_no_lock(lock)
        with self._translated_errors(key):
            return DirectoryUpload(self, key, f"{key}.{first}", self._new_open_folder(key))

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with self._translated_errors(key), self._opened_file(self._file(key)) as file:
            left = os.fstat(file.fileno()).st_size if end is None else end
            left -= file.seek(start)
            while left > 0 and (chunk := file.read(min(READ_SIZE, left))):
                left -= len(chunk)
                yield chunk

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        with self._translated_errors(prefix):
            above, start = _split(prefix)
            yield from islice(_listed_keys(self._listed_folder(above), above, start, start_after), limit)

    def folders(self, prefix: str = "") -> Iterator[ListedKey | ListedPrefix]:
        with self._translated_errors(prefix):
            above, start = _split(prefix)
            for level, path in _levels_in(self._listed_folder(above)):
                if not level.startswith(start):
                    continue
                if not level.endswith("/"):
                    yield from _listed_key(above + level, path)
                elif any(_listed_keys(path, "")):
                    yield ListedPrefix(above + level)

    def delete(self, keys: Iterable[str]) -> Sequence[NotDeleted]:
        refused = []
        for key in keys:
            try:
                with self._translated_errors(key):
                    self._with_spare(partial(self._remove, key))
            except Missing:
                continue
            except StoreError as error:
                refused.append(NotDeleted(key, str(error)))
        return refused

    def deleted_keys(self, prefix: str) -> Iterator[str]:
        """Yield nothing: a directory keeps no versions."""
        del prefix
        return iter(())

    def purge_versions(
        self,
        prefix: str,
        is_wanted: Callable[[str], bool] = lambda _: True,
    ) -> tuple[int, Sequence[NotDeleted]]:
        """Return that there is nothing to remove: a directory keeps no versions."""
        del prefix, is_wanted
        return 0, ()

    def open_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        with self._translated_errors(prefix):
            for key_file in sorted((self.root / _OPEN_FOLDER).glob("*/key")):
                with suppress(FileNotFoundError), self._opened_file(key_file) as file:  # else it ended meanwhile
                    key, since = file.read().decode(), os.fstat(file.fileno()).st_mtime
                    if key.startswith(prefix):
                        yield OpenUpload(key, key_file.parent.name, datetime.fromtimestamp(since, UTC))

    def abort_upload(self, upload: OpenUpload) -> None:
        with self._translated_errors(upload.key):
            self._remove_open_folder(self.root / _OPEN_FOLDER / upload.id)

    def object_lock(self, key: str) -> ObjectLock | None:
        """Return None: a directory cannot refuse to delete a file."""
        del key
        return None

    def extend_lock(self, key: str, lock: ObjectLock) -> None:
        del key, lock
        raise self._no_lock()

    def prove_lock(self, key: str, lock: ObjectLock) -> LockProof:
        del key, lock
        raise self._no_lock()

    def as_of(self, moment: datetime) -> PastStore:
        del moment
        raise NoVersions(f"{self.url}: a directory keeps no versions; --store-as-of needs a bucket with versioning")

    def _require_no_lock(self, lock: ObjectLock | None) -> None:
        if lock is not None:
            raise self._no_lock()

    def _no_lock(self) -> StoreError:
        return StoreError(f"{self.url}: object lock needs S3, a directory cannot refuse to delete files; remove `lock`")

    def require_conditional_writes(self) -> None:
        """A directory always supports conditions: every write becomes visible under one lock."""

    def _write(self, key: str, body: bytes, require: Callable[[Path], None] | None = None) -> str:
        with self._translated_errors(key):
            version = self._with_spare(partial(self._write_once, key, body, require))
            self._fill_spare()
            return version

    def _write_once(self, key: str, body: bytes, require: Callable[[Path], None] | None) -> str:
        folder = self._new_open_folder(key)
        try:
            _write_file(folder / "body", body)
            return self._publish(key, folder / "body", require)
        finally:
            self._remove_open_folder(folder)

    def _with_spare(self, call: Callable[[], T]) -> T:
        """Return the result of a call; while the disk is full, release a part of the spare file and try again."""
        while True:
            try:
                return call()
            except OSError as error:
                if error.errno not in _NO_SPACE or not self._release_spare():
                    raise

    def _release_spare(self) -> bool:
        """Return whether there was a part of the spare file to release."""
        try:
            with self._opened_file(self.root / _SPARE_FILE, os.O_RDWR) as spare:
                size = os.fstat(spare.fileno()).st_size
                os.truncate(spare.fileno(), max(0, size - SPARE_STEP))
        except (OSError, StoreError):
            return False
        return size > 0

    def _fill_spare(self) -> None:
        """Fill the spare file up to its size while the disk has enough room; an error there fails no write."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with suppress(OSError, StoreError), self._opened_file(self.root / _SPARE_FILE, flags) as spare:
            fd = spare.fileno()
            missing, disk = SPARE - os.fstat(fd).st_size, os.fstatvfs(fd)
            if missing > 0 and disk.f_bavail * disk.f_frsize >= FREE_FOR_SPARE:
                _write_all(fd, os.urandom(missing))  # random: a disk that compresses needs room for it, too

    def _new_open_folder(self, key: str) -> Path:
        """Create a directory for one incomplete file, and write down its key."""
        if not self.root.is_dir():  # a missing directory can be a disk that is not mounted
            raise StoreError(f"{self.url}: directory {self.root} does not exist; mount its disk, or correct store.url")
        folder = self.root / _OPEN_FOLDER / secrets.token_hex(12)
        with self._opened_folder(folder.parent, create=True) as above:
            os.mkdir(folder.name, mode=0o700, dir_fd=above)
        try:
            with os.fdopen(_new_file(folder / "key"), "wb") as key_file:
                key_file.write(key.encode())
        except OSError:
            self._remove_open_folder(folder)
            raise
        return folder

    def _remove_open_folder(self, folder: Path) -> None:
        with suppress(FileNotFoundError):
            with self._opened_folder(folder) as opened:
                for name in ("body", "key"):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=opened)
            self._remove_folder(folder)

    def _publish(self, key: str, body: Path, require: Callable[[Path], None] | None = None) -> str:
        with self._locked():
            file = self._file(key)
            if require:
                require(file)
            with self._opened_folder(file.parent, create=True) as folder:
                now = time.time_ns()  # the file system's clock can be too coarse to distinguish two writes
                os.utime(body, ns=(now, now))
                version = _version(body.stat())
                os.rename(body, file.name, dst_dir_fd=folder)
                os.fsync(folder)
        return version

    def _remove(self, key: str) -> None:
        with self._locked():
            file = self._file(key)
            with self._opened_folder(file.parent) as folder:
                os.unlink(file.name, dir_fd=folder)
                os.fsync(folder)
            with suppress(OSError):  # a folder that is not empty
                for empty in file.parents:
                    if empty == self.root:
                        break
                    self._remove_folder(empty)

    def _remove_folder(self, folder: Path) -> None:
        with self._opened_folder(folder.parent) as above:
            os.rmdir(folder.name, dir_fd=above)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._opened_file(self.root / _LOCK_FILE, os.O_RDWR | os.O_CREAT) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _folder(self, above: str) -> Path:
        folder = self.root
        for level in above.split("/")[:-1]:
            folder = _path_of_level(folder, level, _is_folder, other=_is_file)
        return folder

    def _listed_folder(self, above: str) -> Path:
        folder = self._folder(above)
        with suppress(FileNotFoundError, NotADirectoryError), self._opened_folder(folder):
            pass  # an error if a link leads there
        return folder

    def _file(self, key: str) -> Path:
        above, last = _split(key)
        return _path_of_level(self._folder(above), last, _is_file, other=_is_folder)

    @contextmanager
    def _opened_folder(self, folder: Path, *, create: bool = False) -> Iterator[int]:
        """Open a directory level by level, so that no link leads elsewhere, not even one that somebody makes now."""
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in folder.relative_to(self.root).parts:
                above, fd = fd, _open_folder(name, fd, create=create)
                os.close(above)
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _opened_file(self, path: Path, flags: int = os.O_RDONLY) -> Iterator[BinaryIO]:
        with self._opened_folder(path.parent) as folder:
            # O_NONBLOCK: to open a named pipe waits for another process.
            fd = os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=folder)
        with os.fdopen(fd, "rb" if flags == os.O_RDONLY else "r+b", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise StoreError(f"{self.url}: {path} is not a regular file; move it out of the store")
            yield file

    @contextmanager
    def _translated_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(key, error) from error

    def _error(self, key: str, error: OSError) -> StoreError:
        if error.errno in _MISSING:
            return Missing(f"{self.url}: {key} does not exist")
        if error.errno in _REFUSED:
            return Denied(f"{self.url}: {key}: {error.strerror}; give user {os.geteuid()} read and write permission")
        if error.errno in _FULL:
            return StoreError(f"{self.url}: {key}: {_FULL[error.errno]}; free some space, or use another disk")
        if error.errno == errno.ELOOP:
            return StoreError(
                f"{self.url}: {key}: its path has a symbolic link below {self.root}, which groundcrew does not follow; "
                "replace the link by what it points to, or mount that there"
            )
        return StoreError(f"{self.url}: {key}: {error.strerror or error}")


class DirectoryUpload:
    """An upload to one file, which becomes visible when it is complete."""

    def __init__(self, store: DirectoryStore, key: str, piece: str, folder: Path) -> None:
        self._store, self._key, self._piece, self._folder = store, key, piece, folder
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._fd = _new_file(self._folder / "body")

    def write(self, body: bytes | memoryview) -> int:
        with self._store._translated_errors(self._key):
            _write_all(self._fd, body)
        self._sha256.update(body)
        self._size += len(body)
        return len(body)

    def complete(self, sha256: str | None = None) -> StoredStream:
        piece = StoredPiece(self._piece, self._size, self._sha256.hexdigest())
        require_hash([piece], sha256)
        with self._store._translated_errors(self._key):
            os.fsync(self._fd)
            if os.fstat(self._fd).st_size != self._size:
                raise StoreError(
                    f"{self._store.url}: {piece.key} should be {self._size} bytes long, but is not; "
                    "check whether another process writes to this store, and try again"
                )
            self._store._publish(piece.key, self._folder / "body")
        self.abort()
        return StoredStream((piece,))

    def abort(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            finally:
                self._store._remove_open_folder(self._folder)

    def __enter__(self) -> DirectoryUpload:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()


def _split(prefix: str) -> tuple[str, str]:
    """Return the complete levels of a prefix, and the start of the next level."""
    above, slash, start = prefix.rpartition("/")
    return above + slash, start


def _path_of_level(folder: Path, level: str, kind: Callable[[Path], bool], other: Callable[[Path], bool]) -> Path:
    """Return the path of one level. If a file and a directory need the same name, the later one gets the suffix `%`."""
    plain = folder.joinpath(*file_names(level))
    suffixed = plain.with_name(plain.name + FILE_SUFFIX)
    return suffixed if kind(suffixed) or other(plain) else plain


def _listed_keys(folder: Path, above: str, start: str = "", start_after: str = "") -> Iterator[ListedKey]:
    for level, path in _levels_in(folder):
        if not level.startswith(start) or not _is_after(above + level, start_after):
            continue
        if level.endswith("/"):
            yield from _listed_keys(path, above + level, start_after=start_after)
        else:
            yield from _listed_key(above + level, path)


def _is_after(key: str, start_after: str) -> bool:
    """Whether a key is later than `start_after` in the order of bytes; for a folder, whether one of its keys can be."""
    if key.endswith("/") and start_after.startswith(key):
        return True
    return key.encode() > start_after.encode()


def _listed_key(key: str, path: Path) -> Iterator[ListedKey]:
    try:
        found = os.lstat(path)
    except FileNotFoundError:  # deleted meanwhile
        return
    yield ListedKey(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), _version(found))


def _levels_in(folder: Path) -> list[tuple[str, Path]]:
    """Return the levels in a directory and their paths, in the order of keys; a directory's level ends with a slash."""
    levels = []
    for names, slash, path in _named_levels(folder, []):
        try:
            levels.append((key_level(names) + slash, path))
        except UnicodeDecodeError:
            log.get().warning("file ignored, groundcrew wrote no such name", path=repr(str(path)))
    return sorted(levels)


def _named_levels(folder: Path, names: list[str]) -> Iterator[tuple[list[str], str, Path]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name in (_LOCK_FILE, _OPEN_FOLDER, _SPARE_FILE):
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and entry.name.endswith(CONTINUED_SUFFIX):
            yield from _named_levels(folder / entry.name, [*names, entry.name])
        elif is_folder or entry.is_file(follow_symlinks=False):
            yield [*names, entry.name], "/" if is_folder else "", folder / entry.name


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _version(file: os.stat_result) -> str:
    return f"{file.st_mtime_ns:x}-{file.st_ino:x}-{file.st_size:x}"


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write_all(fd: int, body: bytes | memoryview) -> None:
    left = memoryview(body)
    while left:
        left = left[os.write(fd, left) :]


def _write_file(path: Path, body: bytes) -> None:
    fd = _new_file(path)
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


def _open_folder(name: str, above: int, *, create: bool) -> int:
    """Open a directory in another one; an error of ELOOP if it is a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=above)
    except FileNotFoundError:
        if not create:
            raise
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise
    with suppress(FileExistsError):
        os.mkdir(name, mode=0o700, dir_fd=above)
        os.fsync(above)
    return os.open(name, flags, dir_fd=above)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
