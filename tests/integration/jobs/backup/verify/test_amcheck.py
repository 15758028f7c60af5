"""A verification checks the structure of the restored database with the real pg_amcheck."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.parts.crew import Repository
from tests.parts.needs import needs
from tests.parts.postgres import DISTRIBUTION, Database

MAJOR = max(DISTRIBUTION, default=15)
# An order that changes with each comparison: no index of it is ever right.
NO_ORDER = """
CREATE FUNCTION no_order(int, int) RETURNS int LANGUAGE sql AS 'SELECT CASE WHEN random() < 0.5 THEN 1 ELSE -1 END';
CREATE OPERATOR CLASS no_order FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=,
    OPERATOR 5 >, FUNCTION 1 no_order(int, int);
CREATE TABLE numbers AS SELECT generate_series(1, 300) n;
CREATE INDEX wrong ON numbers (n no_order)
"""


@needs("extension-amcheck", "bwrap")
def test_an_index_that_is_wrong_is_a_difference(
    repository: Repository, database: Callable[[int], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = database(MAJOR)
    numbers.run(NO_ORDER)
    repository.environment(text=repository.section("shop", numbers, "amcheck = true\n"))
    taken = repository.backup()
    ended = repository.crew("backups", "verify", "staging", "shop", "--set", taken, "--json")
    [difference] = ended.json["differences"]["shop"]
    assert (ended.code, difference["kind"], difference["found"] > 0) == (2, "amcheck", True), ended
    assert difference["name"] == 'btree index "groundcrew_verify.public.wrong"'
    assert list(repository.results(taken)) == ["failed"]
    monkeypatch.setattr("jobs.backup.verify.verify.pg_amcheck_for", lambda *_: "")
    ended = repository.crew("backups", "verify", "staging", "shop", "--set", taken)
    assert (ended.code, "amcheck did not run" in ended.out) == (0, True), ended
