"""The owner of a database names tables and databases with escape sequences, or hides a database from backups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from psycopg import sql

from jobs.backup.sources import subject_name
from tests.parts.backups import section, team
from tests.parts.postgres import Database

EVIL = "\x1b]0;own\x07[red]\u202e\x85\u2028\nforged: done"
SHOWN = r"\x1b]0;own\x07[red]\u202e\x85\u2028\nforged: done"


def is_harmless(text: str) -> bool:
    """Return whether a text has no control characters besides line breaks, and no line that the name has forged."""
    return text.replace("\n", "").isprintable() and "\nforged" not in text


def test_names_with_escape_sequences_are_shown_escaped(database: Callable[..., Database], tmp_path: Path) -> None:
    database(16, EVIL)
    database(16, "host=127.0.0.1 port=1")  # pg_dumpall takes such a name for a connection string
    shop = database(16)
    with shop.connect() as connection:
        connection.execute(sql.SQL("CREATE TABLE {} AS SELECT 1 AS a").format(sql.Identifier(EVIL)))
    body = section("main", shop.server.url("postgres"), 'exclude = ["postgres", "contrib*"]', kind="servers")
    staging = team(tmp_path, body)
    with shop.server.connect() as owner:  # the owner of a database can do this, too
        owner.execute(f"ALTER DATABASE {shop.name} IS_TEMPLATE true")
        taken = staging.crew("run", "backup", "staging")
        owner.execute(f"ALTER DATABASE {shop.name} ALLOW_CONNECTIONS false")
        closed = staging.crew("run", "backup", "staging")
        owner.execute(f"ALTER DATABASE {shop.name} ALLOW_CONNECTIONS true IS_TEMPLATE false")
    assert taken.returncode == 0, taken
    assert f"main.{shop.name}" in taken.stdout
    assert (closed.returncode, "its owner has closed it: ALTER DATABASE" in closed.stdout) == (1, True), closed
    evil_subject = subject_name("main", EVIL)
    commands = {
        "show": ("backups", "show", "staging", f"main.{shop.name}"),
        "tables": ("backups", "restore", "staging", f"main.{shop.name}", "--into", shop.url, "--password-from",
                   "env:DB_PASSWORD", "--dry-run", "--tables", EVIL),
        "list": ("backups", "list", "staging"),
        "runs": ("runs", "staging"),
        "run": ("runs", "staging", "backup", evil_subject, "--last"),
        "status": ("status", "staging"),
    }  # fmt: skip
    ended = {name: staging.crew(*arguments) for name, arguments in commands.items()}
    printed = {name: (each.stdout, each.stderr) for name, each in ended.items()}
    assert {name: text for name, text in printed.items() if not all(map(is_harmless, text))} == {}
    assert SHOWN in printed["show"][0]
