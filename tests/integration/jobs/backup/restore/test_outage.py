"""The store goes away in the middle of a restore or a verification, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from jobs.backup.sets import stored
from jobs.store.s3 import S3Store
from tests.parts.crew import Repository
from tests.parts.postgres import Database
from tests.parts.proxy import Proxy
from tests.parts.s3 import Bucket


@pytest.mark.parametrize("command", ["restore staging shop --into {into} --create", "verify staging shop"])
def test_a_reader_of_a_set_waits_for_the_store(
    command: str,
    repository: Repository,
    shop: Callable[..., Database],
    seaweed: Bucket,
    proxy: Callable[..., Proxy],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, origin = proxy(seaweed.target), shop(15)
    for name, value in {"URL": seaweed.url, "ENDPOINT": network.endpoint, "REGION": seaweed.region}.items():
        monkeypatch.setenv(f"GROUNDCREW__STORE__{name}", value)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.02)
    repository.environment(text=repository.section("shop", origin))
    repository.crew("check", "staging", "--create", "--json")
    repository.backup()
    read, waits = S3Store.read, list[float]()

    def break_off(store: S3Store, key: str, start: int = 0, *more: int | None) -> Iterator[bytes]:
        if "/rest." in key and not waits:
            network.go_away()
        return read(store, key, start, *more)

    def come_back(seconds: float, check: Callable[[], None]) -> None:
        check()
        waits.append(seconds)
        if len(waits) == 2:
            network.come_back()

    monkeypatch.setattr(S3Store, "read", break_off)
    monkeypatch.setattr(stored, "_pause", come_back)
    into = origin.url.replace(origin.name, f"{origin.name}_again")
    ended = repository.crew("backups", *command.format(into=into).split())
    assert ended.code == 0, ended
    assert len(waits) >= 2
    assert "waiting for the store" in ended.err
    assert "store answers again" in ended.err
