import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.restore.protected import Guarded, address, same
from jobs.backup.restore.target import TargetState

HERE = ("localhost", "5432")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://me@Db.Internal:5433/shop", ("db.internal", "5433")),
        ("postgresql://me@db.internal/shop", ("db.internal", "5432")),
        ("postgresql://me@localhost/shop", HERE),
        ("postgresql://me@127.0.0.1/shop", HERE),
        ("postgresql://me@[::1]:5433/shop", ("localhost", "5433")),
        ("postgresql:///shop", HERE),
        ("postgresql:///shop?host=/var/run/postgresql", HERE),
    ],
)
def test_where_an_address_leads(url: str, where: tuple[str, str]) -> None:
    assert address({key: str(value) for key, value in conninfo_to_dict(url).items()}) == where


@pytest.mark.parametrize(
    ("guarded", "identifier", "is_same"),
    [
        (Guarded("production", "shop", None, "77"), "77", True),
        (Guarded("production", "shop", None, "77"), "78", False),
        (Guarded("production", "shop", None, None), None, False),
        (Guarded("production", "shop", HERE, None), None, True),
        (Guarded("production", "shop", ("db.internal", "5432"), None), "77", False),
        (Guarded("production", "crm", HERE, "77"), "77", False),
        (Guarded("production", None, HERE, None), "77", True),
    ],
)
def test_what_is_the_same_database(guarded: Guarded, identifier: str | None, is_same: bool) -> None:
    place = TargetState("shop", 16, False, True, "me", False, 0, frozenset(), frozenset({"shop"}), identifier)
    assert same(guarded, HERE, place) is is_same
