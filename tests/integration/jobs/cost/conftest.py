from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.explorer import Explorer, explorer


@pytest.fixture
def cost_explorer(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Explorer]:
    """Start Cost Explorer and STS stand-ins and point boto3 at them."""
    with explorer(moto_server) as running:
        for name, value in {
            "AWS_ENDPOINT_URL_COST_EXPLORER": running.endpoint,
            "AWS_ENDPOINT_URL_STS": moto_server,
            "AWS_ACCESS_KEY_ID": "groundcrew-tests",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret-at-all",
        }.items():
            monkeypatch.setenv(name, value)
        yield running
