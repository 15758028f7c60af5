"""The key of the status page."""

from __future__ import annotations

import pytest

from inventories import Status
from jobs.status.job import page_key


@pytest.mark.parametrize(
    ("environment", "publish", "key"),
    [
        ("staging", None, "staging/status/index.html"),
        ("production", None, "production/status/index.html"),
        ("production", "pages/production.html", "pages/production.html"),
    ],
)
def test_environments_in_one_store_have_pages_of_their_own(environment: str, publish: str | None, key: str) -> None:
    assert page_key(environment, Status(publish=publish)) == key
