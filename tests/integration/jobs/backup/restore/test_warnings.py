"""A function of a set raises warnings without end while rows are restored."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.backup.restore import processes
from tests.parts.crew import Repository
from tests.parts.postgres import Database


@pytest.mark.usefixtures("small_streams")
def test_warnings_of_a_set_do_not_fill_the_disk(
    repository: Repository, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = database(16)
    shop.run(
        "CREATE FUNCTION flood(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN "
        "WHILE current_setting('application_name') = 'psql' LOOP RAISE WARNING '%', repeat('x', 100000); END LOOP; "
        "RETURN true; END $$",
        "CREATE TABLE big (n int CHECK (flood(n)), body text)",
        "INSERT INTO big SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 1000) n",
    )
    repository.environment(text=repository.section("shop", shop))
    repository.backup()
    monkeypatch.setattr(processes, "MOST_PRINTED", 1 << 20)
    into = ("--into", shop.server.url(f"{shop.name}_new"), "--password-from", f"file:{repository.root}/password")
    restored = repository.crew("backups", "restore", "staging", "shop", *into, "--create")
    assert restored.code == 1
    assert "psql of part rows-1-1 into" in restored.err
    assert "it printed more than 1 MiB; a function of the set raises these warnings" in restored.err
