from jobs.backup.restore.rows import groups_of_callers


def test_tables_that_call_functions_keep_the_order_of_pg_dump() -> None:
    names = [("public", name) for name in ("e", "d", "c", "b", "a")]
    assert groups_of_callers(names, {("public", "c")}) == [
        (False, [("public", "a"), ("public", "b")]),
        (True, [("public", "c")]),
        (False, [("public", "d"), ("public", "e")]),
    ]
