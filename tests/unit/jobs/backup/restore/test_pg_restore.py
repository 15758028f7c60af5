from pathlib import Path

from jobs.backup.postgres.programs import Program
from jobs.backup.restore.pg_restore import Manner, contents, definitions, rows, script

PROGRAM = Program("pg_restore", "/usr/lib/postgresql/15/bin/pg_restore", "15.18")
ARCHIVE, LIST = Path("/tmp/defs"), Path("/tmp/list")


def test_definitions_come_from_a_file_and_indexes_are_made_side_by_side() -> None:
    assert definitions(PROGRAM, "host=db dbname=shop", "pre-data", ARCHIVE, Manner()) == [
        "/usr/lib/postgresql/15/bin/pg_restore", "--exit-on-error", "--no-password", "--section=pre-data",
        "--dbname=host=db dbname=shop", "/tmp/defs",
    ]  # fmt: skip
    assert definitions(PROGRAM, "dbname=shop", "post-data", ARCHIVE, Manner(), jobs=4, only=LIST) == [
        "/usr/lib/postgresql/15/bin/pg_restore", "--exit-on-error", "--no-password", "--use-list=/tmp/list",
        "--section=post-data", "--jobs=4", "--dbname=dbname=shop", "/tmp/defs",
    ]  # fmt: skip


def test_rows_come_from_stdin_and_what_the_target_can_not_take_is_left_out() -> None:
    manner = Manner(owners=False, privileges=False, tablespaces=False, subscriptions=False)
    assert rows(PROGRAM, "dbname=shop", manner) == [
        "/usr/lib/postgresql/15/bin/pg_restore", "--exit-on-error", "--no-password", "--section=data",
        "--no-owner", "--no-privileges", "--no-tablespaces", "--no-subscriptions", "--dbname=dbname=shop",
    ]  # fmt: skip


def test_an_archive_is_listed_and_its_sql_printed() -> None:
    assert contents(PROGRAM) == ["/usr/lib/postgresql/15/bin/pg_restore", "--list"]
    assert script(PROGRAM, ARCHIVE) == [
        "/usr/lib/postgresql/15/bin/pg_restore", "--verbose", "--file=-", "/tmp/defs",
    ]  # fmt: skip
