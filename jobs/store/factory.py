"""From the environment file's address to the store behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from jobs.store.interface import Store, StoreError


class StoreOptions(Protocol):
    """What an environment's `[store]` says, as far as a store needs it."""

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
    """The store that the environment names, with the AWS profile that is meant for this job."""
    address = urlsplit(settings.url, allow_fragments=False)
    if address.scheme == "file" and address.path.startswith("/") and not address.netloc + address.query:
        from jobs.store.directory import DirectoryStore

        return DirectoryStore(settings.url, Path(unquote(address.path)))
    if address.scheme == "s3" and address.netloc and not address.query:
        from jobs.store.s3 import S3Store
        from jobs.store.s3_errors import Location

        profile = settings.profiles.get(job or "", settings.profile)
        place = Location(settings.url, address.netloc, settings.region, settings.endpoint, profile)
        return S3Store(place, address.path.strip("/"), settings.max_parts)
    raise StoreError(f"store.url: {settings.url} is no store; use s3://bucket/prefix or file:///path")
