from io import BytesIO

import pytest

from jobs.backup.postgres.program_errors import error_line, own_lines, stderr_lines

FAILED_ROW = """\
pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3359; 0 16391 TABLE DATA orders postgres
pg_restore: error: COPY failed for table "orders": ERROR:  new row for relation "orders" violates check constraint "c"
DETAIL:  Failing row contains (1, secret
pg_restore: error: secret).
CONTEXT:  COPY orders, line 1: "1	secret"
"""
FAILED_QUERY = """\
pg_restore: error: could not execute query: ERROR:  could not create unique index "a"
DETAIL:  Key (email)=(secret) is duplicated.
Command was: CREATE UNIQUE INDEX a ON orders (email) WHERE email <> 'secret';
"""
FAILED_DUMP = """\
pg_dump: warning: odd
pg_dump: error: Dumping the contents of table "a" failed: PQgetResult() failed.
pg_dump: detail: Error message from server: ERROR:  could not read block 3
pg_dump: detail: Command was: COPY public.a (secret) TO stdout;
"""
FAILED_SCRIPT = """\
psql:/srv/shop.sql:3: NOTICE:  secret
psql:/srv/shop.sql:4: ERROR:  null value in column "name" violates not-null constraint
DETAIL:  Failing row contains (1, secret).
LINE 1: UPDATE customers SET name = 'secret';
STATEMENT:  secret
"""


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        (
            FAILED_ROW,
            'pg_restore: error: COPY failed for table "orders": ERROR: new row for relation "orders" violates check '
            'constraint "c"',
        ),
        (FAILED_QUERY, 'pg_restore: error: could not execute query: ERROR: could not create unique index "a"'),
        (
            FAILED_DUMP,
            'pg_dump: error: Dumping the contents of table "a" failed: PQgetResult() failed. pg_dump: detail: '
            "Error message from server: ERROR: could not read block 3",
        ),
        (
            FAILED_SCRIPT,
            'psql:/srv/shop.sql:4: ERROR: null value in column "name" violates not-null constraint',
        ),
        (
            'ERROR:  invalid input syntax for type integer: "x"\nCONTEXT:  secret\n',
            'ERROR: invalid input syntax for type integer: "x"',
        ),
        ("pg_dump: symbol lookup error: no libpq\n", "pg_dump: symbol lookup error: no libpq"),
        ("NOTICE:  secret\nsecret\n", ""),
        ("", ""),
    ],
)
def test_only_the_error_is_kept(stderr: str, error: str) -> None:
    assert error_line(stderr_lines(BytesIO(stderr.encode()))) == error


def test_of_a_long_line_only_the_beginning_is_kept() -> None:
    locked = ", ".join(f"public.t{number}" for number in range(9000))
    stderr = (
        f"pg_dump: error: query failed: ERROR:  out of shared memory\npg_dump: detail: Query was: LOCK {locked}\nend"
    )
    lines = list(stderr_lines(BytesIO(stderr.encode())))
    assert lines[0] == "pg_dump: error: query failed: ERROR:  out of shared memory"
    assert lines[1].startswith("pg_dump: detail: Query was: LOCK public.t0, ")
    assert len(lines[1]) == 500
    assert lines[2:] == ["end"]


def test_warnings_are_those_of_the_program_itself() -> None:
    lines = ["pg_dump: warning: circular foreign keys", "pg_dump: detail: hens", "NOTICE:  secret", "secret"]
    assert own_lines(lines) == ("pg_dump: warning: circular foreign keys", "pg_dump: detail: hens")
