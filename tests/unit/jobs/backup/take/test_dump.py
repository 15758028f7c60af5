import pytest

from jobs.backup.errors import BackupError
from jobs.backup.take.dump import LockTimeout, dump_error
from jobs.run.job import Transient


@pytest.mark.parametrize(
    ("code", "stderr", "kind", "sentence"),
    [
        (
            1,
            ['pg_dump: error: connection to "db" failed: FATAL:  password authentication failed for user "me"'],
            BackupError,
            "password authentication failed",
        ),
        (
            1,
            ["pg_dump: error: query failed: server closed the connection unexpectedly"],
            Transient,
            "part rest: pg_dump: error: query failed: server closed the connection",
        ),
        (
            1,
            [
                "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout",
                "pg_dump: detail: Query was: LOCK TABLE public.wide IN ACCESS SHARE MODE",
            ],
            LockTimeout,
            "statement timeout",
        ),
        (
            1,
            ["pg_dump: error: query failed: ERROR:  permission denied for table a"],
            BackupError,
            "grant it pg_read_all_data",
        ),
        (
            1,
            ['pg_dump: error: query would be affected by row-level security policy for table "b"'],
            BackupError,
            "BYPASS",
        ),
        (
            1,
            ["pg_dump: warning: there are circular foreign-key constraints", "pg_dump: error: odd"],
            BackupError,
            "odd",
        ),
        (
            1,
            [
                'pg_dump: error: Dumping the contents of table "a" failed: PQgetResult() failed.',
                'pg_dump: detail: Error message from server: ERROR:  could not write to file "base/pgsql_tmp/1": '
                "No space left on device",
            ],
            Transient,
            "No space left on device",
        ),
        (1, ["ERROR:  canceling statement due to lock timeout"], LockTimeout, "lock timeout"),
        (1, ["ERROR:  permission denied for table a"], BackupError, "grant it pg_read_all_data"),
        (-9, [], Transient, "part rest: exit code -9"),
        (3, ["no sign of what it was"], BackupError, "no sign of what it was"),
    ],
)
def test_a_failed_dump_is_permanent_or_transient_by_its_output(
    code: int, stderr: list[str], kind: type[Exception], sentence: str
) -> None:
    error = dump_error("rest", code, stderr)
    assert type(error) is kind
    assert sentence in str(error)


def test_the_failed_query_is_not_shown() -> None:
    stderr = ["pg_dump: error: query failed: ERROR:  a", "pg_dump: detail: Query was: SELECT secret"]
    assert str(dump_error("rest", 1, stderr)) == "part rest: pg_dump: error: query failed: ERROR: a"
