"""docs/json.md lists the fields that commands print with --json."""

from __future__ import annotations

from tests.parts.json_fields import PAGE, commands, fields_by_command, fields_of_objects, page

WITHOUT_JSON = {"crew schedule run", "crew schedule export"}


def test_the_page_lists_what_the_code_prints() -> None:
    written = PAGE.read_text()
    assert written == page(written), "to update docs/json.md: .venv/bin/python -m tests.parts.json_fields"


def test_every_command_prints_json() -> None:
    assert commands().keys() - fields_by_command().keys() == WITHOUT_JSON
    empty = [name for name, fields in {**fields_by_command(), **fields_of_objects()}.items() if not fields]
    assert empty == []
    assert all(fields_of_objects()), "a function named _as_json gives its object no name"
