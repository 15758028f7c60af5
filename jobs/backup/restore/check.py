"""Holding a restored database against its manifest."""

from __future__ import annotations

from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.restore.compare import Difference, Name, Sequence, unkept
from jobs.backup.restore.fill import Filling, every

_TABLES = """SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence <> 't'"""
_SEQUENCES = "SELECT schemaname, sequencename, last_value, increment_by FROM pg_sequences"
_LARGE_OBJECTS = "SELECT count(*) FROM pg_largeobject_metadata"


def differences(filling: Filling, only: frozenset[Name] | None = None) -> tuple[Difference, ...]:
    """Every promise of the manifest that the filled database does not keep; `only` these tables, if named."""
    manifest = filling.stored.manifest
    with translated_errors(), filling.into.connect(autocommit=True) as there:
        tables = {(schema, name) for schema, name in there.execute(_TABLES).fetchall()}
        sequences = {(schema, name): Sequence(*rest) for schema, name, *rest in there.execute(_SEQUENCES).fetchall()}
        [objects] = there.execute(_LARGE_OBJECTS).fetchone() or (0,)
    promised = [one for one in manifest.tables if only is None or (one.schema, one.name) in only]
    counted = [one for one in promised if one.rows is not None and (one.schema, one.name) in tables]
    asked = [f"SELECT count(*) FROM ONLY {quoting.name(one.schema, one.name)}" for one in counted]  # noqa: S608 - quoted
    answers = every(filling.into, asked, filling.jobs, filling.run)
    rows = dict.fromkeys(tables, -1) | {
        (one.schema, one.name): int(answer[0]) for one, answer in zip(counted, answers, strict=True) if answer
    }
    if only is not None:
        return unkept(promised, (), rows, {})
    found = unkept(promised, manifest.sequences, rows, sequences)
    if objects == manifest.large_objects:
        return found
    return (*found, Difference("large objects", "all", manifest.large_objects, objects))


def sentence(one: Difference) -> str:
    """A difference in words."""
    unit = "" if one.kind == "sequence" else " rows" if one.kind == "table" else ""
    promised = "nothing" if one.promised is None else f"{one.promised}{unit}"
    found = "it is not there" if one.found is None else f"{one.found}{unit} found"
    return f"{one.kind} {one.name}: {promised} promised, {found}"
