"""What runs on clusters: the store keeps which version of each app passed its tests, and since when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from jobs.run.documents import document_fields, from_body, to_body
from jobs.run.job import Failed
from jobs.store import Missing, Store

TEXTS = ("name", "namespace", "version", "values")
LISTS = ("source", "images")


class BadAppRecord(Failed):
    """A record of an app that cannot be used."""


@dataclass(frozen=True)
class DeployedApp:
    """An app that passed its tests in an environment."""

    name: str
    namespace: str
    version: str
    source: tuple[str, ...]  # chart and version, or the images of the manifests: what another environment must match
    values: str  # SHA-256 of the values, without secrets
    images: tuple[str, ...]  # of its namespace, with digests
    since: str = ""  # when this source first passed here
    passed: str = ""  # when it last did
    unproven: bool = False  # deployed although the environment before had not run it


def parse_app(fields: Mapping[str, Any]) -> DeployedApp:
    """Return an app from JSON; ValueError if a field is missing or of another type."""
    known = {**fields, **{name: tuple(fields[name]) for name in LISTS}}
    texts = [*(known[name] for name in TEXTS), *known["source"], *known["images"]]
    if not all(isinstance(each, str) for each in texts) or not known["name"] or "/" in known["name"]:
        raise ValueError("an app needs a name, and its fields are texts")
    return DeployedApp(**known)


def app_key(environment: str, name: str) -> str:
    """Return the key of an app's record."""
    return f"{environment}/apps/{name}.json"


def read_deployed(store: Store, environment: str) -> list[DeployedApp]:
    """Return the apps of an environment, by name."""
    return list(_read_all(store, environment))


def _read_all(store: Store, environment: str) -> Iterator[DeployedApp]:
    for listed in store.list(f"{environment}/apps/"):
        if found := _read_one(store, listed.key):
            yield found


def _read_one(store: Store, key: str) -> DeployedApp | None:
    try:
        body = store.get(key).body
    except Missing:
        return None
    return from_body(key, body, parse_app, BadAppRecord)


def forget_app(store: Store, environment: str, name: str) -> None:
    """Delete the record of an app that was removed; BadAppRecord if there is none."""
    key = app_key(environment, name)
    if _read_one(store, key) is None:
        raise BadAppRecord(f"{environment}: app {name} is not recorded; crew apps {environment} lists the apps")
    store.delete([key])


def record_apps(store: Store, environment: str, apps: Sequence[DeployedApp], now: datetime) -> list[DeployedApp]:
    """Write the records of apps that passed, and return them."""
    moment = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    written = []
    for app in apps:
        key = app_key(environment, app.name)
        before = _read_one(store, key)
        since = before.since if before and before.source == app.source else moment
        written.append(replace(app, since=since, passed=moment))
        store.put(key, to_body(document_fields(written[-1])))
    return written
