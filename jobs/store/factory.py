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


def open_store(settings: StoreOptions, job: str | None = None) -> Store:
    """Return the store of an environment, opened with the AWS profile of a job."""
    url = urlsplit(settings.url, allow_fragments=False)
    if url.scheme == "file" and url.path.startswith("/") and not url.netloc + url.query:
        from jobs.store.directory import DirectoryStore

        return DirectoryStore(settings.url, Path(unquote(url.path)))
    if url.scheme == "s3" and url.netloc and not url.query:
        from jobs.store.s3 import S3Store
        from jobs.store.s3_errors import Location

        profile = settings.profiles.get(job or "", settings.profile)
        location = Location(settings.url, url.netloc, settings.region, settings.endpoint, profile)
        return S3Store(location, url.path.strip("/"), settings.max_parts)
    raise StoreError(f"store.url: {settings.url} is not the URL of a store; use s3://bucket/prefix or file:///path")
