from pathlib import Path

from jobs.backup.postgres.programs import Program
from jobs.backup.refresh import psql


def test_the_script_runs_in_one_transaction_that_its_first_error_ends() -> None:
    assert psql(Program("psql", "/bin/psql", "15.1"), "host=db dbname=copy", Path("/i/shop.sql")) == [
        "/bin/psql", "--no-psqlrc", "--no-password", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1",
        "--file=/i/shop.sql", "--dbname=host=db dbname=copy",
    ]  # fmt: skip
