"""crew backups list on a directory store: an empty list says why it is empty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.backup.sets.manifest import TableRows
from jobs.cli.sets import print_manifest
from tests.unit.jobs.backup.sets.test_manifest import MANIFEST
from tests.unit.jobs.cli.conftest import Crew, Write, databases


@pytest.mark.parametrize(
    ("tables", "title"),
    [(10, "Largest tables\n"), (32, "Largest tables, showing 10 of 32 tables (all: --json)\n")],
)
def test_a_shortened_list_of_tables_says_so(capsys: pytest.CaptureFixture[str], tables: int, title: str) -> None:
    print_manifest(replace(MANIFEST, tables=tuple(TableRows("public", f"t{n}", 1, n) for n in range(tables))))
    printed = capsys.readouterr().out
    assert title in printed
    assert printed.count("public.t") == 10


def add_set(store: Path, environment: str, database: str) -> None:
    """Write what makes a backup set in a listing: its manifest."""
    manifest = store / environment / "backups" / database / "20261120T020000Z-cccc" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")


def note(crew: Crew, *args: str) -> str:
    """Return why the list is empty, which --json says too."""
    result = crew("backups", "list", "try", *args)
    assert result.code == 0, result
    document = crew("backups", "list", "try", *args, "--json").json
    assert result.out == f"try: {document['note']}\n"
    return str(document["note"])


def test_the_first_backup_is_named_in_an_empty_store(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    assert note(crew) == "no complete backup sets yet. To take the first: crew run backup try"


@pytest.mark.parametrize("database", ["stock", "main.tenannt_1"])
def test_a_database_without_sets_is_answered_with_those_that_have_some(
    crew: Crew, write: Write, tmp_path: Path, database: str
) -> None:
    write(databases("shop", "stock") + '[servers.main]\nurl = "postgresql://nobody@127.0.0.1:1/postgres"\n')
    add_set(tmp_path / "store", "try", "shop")
    assert note(crew, database) == f"{database} has no complete backup sets. Databases with sets: shop."
