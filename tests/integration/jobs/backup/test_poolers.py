"""A connection pooler is refused. It keeps sessions for several clients, so a session's settings would leak."""

from __future__ import annotations

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import Endpoint
from tests.parts.pooler import pooler


@pytest.mark.parametrize("refuses", [True, False])
def test_a_pooler_is_refused_without_a_change_to_its_session(refuses: bool) -> None:
    with pooler(refuses=refuses) as (port, queries):
        endpoint = Endpoint({"host": "127.0.0.1", "port": str(port), "user": "app", "dbname": "shop"})
        with pytest.raises(BackupError, match="connect to PostgreSQL directly"):
            endpoint.connect(autocommit=True)
    assert queries == ([] if refuses else [b"SHOW search_path"])
