"""Opens the store of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from jobs.store.interface import Store, StoreError


class StoreOptions(Protocol):
    """The keys of an environment's `[store]` that are needed to open a store."""

    @property
    def url(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def profile(self) -> str: ...
    @property
    def profiles(self) -> Mapping[str, str]: ...
    @property
    def max_parts(self) -> int: ...


def store_directory(store_url: str) -> Path | None:
    """Return the directory of a file:// URL; None for another URL."""
    url = urlsplit(store_url, allow_fragments=False)
    is_file = url.scheme == "file" and url.path.startswith("/") and not url.netloc + url.query
    return Path(unquote(url.path)) if is_file else None


def why_no_directory(store_url: str) -> str | None:
    """Return why the directory of a file:// URL holds nothing; None if it exists or the store is another one."""
    directory = store_directory(store_url)
    if directory is None or directory.is_dir():
        return None
    return f"{directory} is not a directory" if directory.exists() else f"directory {directory} does not exist"


def open_store(settings: StoreOptions, job: str | None = None) -> Store:
    """Return the store of an environment, opened with the AWS profile of a job."""
    directory = store_directory(settings.url)
    if directory is not None:
        from jobs.store.directory import DirectoryStore

        return DirectoryStore(settings.url, directory)
    url = urlsplit(settings.url, allow_fragments=False)
    if url.scheme == "s3" and url.netloc and not url.query:
        from jobs.store.s3 import S3Store
        from jobs.store.s3_errors import Location

        profile = settings.profiles.get(job or "", settings.profile)
        location = Location(settings.url, url.netloc, settings.region, settings.endpoint, profile)
        return S3Store(location, url.path.strip("/"), settings.max_parts)
    raise StoreError(f"store.url: {settings.url} is not the URL of a store; use s3://bucket/prefix or file:///path")
