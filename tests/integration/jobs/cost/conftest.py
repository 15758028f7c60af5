from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.explorer import Explorer, explorer


@pytest.fixture
def cost_explorer(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Explorer]:
    """Cost Explorer and STS, reached as AWS's own are."""
    with explorer(moto_server) as found:
        for name, value in {
            "AWS_ENDPOINT_URL_COST_EXPLORER": found.endpoint,
            "AWS_ENDPOINT_URL_STS": moto_server,
            "AWS_ACCESS_KEY_ID": "groundcrew-tests",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret-at-all",
        }.items():
            monkeypatch.setenv(name, value)
        yield found
