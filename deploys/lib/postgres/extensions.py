"""Extensions of PostgreSQL: their packages, and CREATE EXTENSION in each database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pyinfra import host
from pyinfra.api import FunctionCommand, operation
from pyinfra.context import ctx_state

from deploys.lib.group_data import unknown_keys
from deploys.lib.messages import report_failure
from deploys.lib.operations import Steps, run_silently
from deploys.lib.postgres.server import PSQL, execute_statements
from deploys.lib.preflight import DeployError
from inventories import Secret

EXTENSION = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
SYSTEM_DATABASE = "postgres"

# Updates are asked for only where the versions differ: for some extensions the answer takes a second.
AVAILABLE_QUERY = """
SELECT pg_catalog.json_object_agg(a.name, pg_catalog.json_build_object(
  'installed', coalesce(a.installed_version, ''), 'default', a.default_version,
  'own_schema', coalesce(v.schema, ''), 'requires', coalesce(v.requires, '{}'),
  'has_update', CASE WHEN a.installed_version <> a.default_version THEN EXISTS (
    SELECT FROM pg_catalog.pg_extension_update_paths(a.name) p
    WHERE p.source = a.installed_version AND p.target = a.default_version AND p.path IS NOT NULL) ELSE false END))
FROM pg_catalog.pg_available_extensions a
LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
"""


@dataclass(frozen=True)
class DesiredExtension:
    """An extension in the group data of a database."""

    name: str
    package: str = ""  # without "postgresql-15-"; "" if PostgreSQL itself has the extension
    schema: str = "public"


@dataclass(frozen=True)
class AvailableExtension:
    """An extension that the server offers to a database."""

    installed: str  # its version in the database, "" if it does not exist there
    default: str
    own_schema: str  # the only schema that it accepts, "" if it accepts any
    requires: tuple[str, ...]
    has_update: bool  # to the default version


Extensions: TypeAlias = Mapping[str, Sequence[DesiredExtension]]


class ExtensionMissing(DeployError):
    """The server does not offer an extension."""


def faults(given: Any, databases: Iterable[str]) -> Iterator[str]:
    """Yield each fault in `postgres_extensions`; `databases` are those in group data."""
    if not isinstance(given, Mapping) or not all(isinstance(each, list | tuple) for each in given.values()):
        yield 'postgres_extensions: write a list per database, such as {"shop": ["pgcrypto"]}'
        return
    for database in sorted(set(map(str, given)) - {SYSTEM_DATABASE, *databases}):
        yield f"postgres_extensions: {database} is not in postgres_databases; add it"
    for database, entries in given.items():
        for entry in entries:
            yield from _entry_faults(f"postgres_extensions: {database}", entry)
        names = [str(entry.get("name") if isinstance(entry, Mapping) else entry) for entry in entries]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"postgres_extensions: {database}: {name} is listed twice; keep one"


def _entry_faults(where: str, entry: Any) -> Iterator[str]:
    values = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(values, Mapping) or not EXTENSION.fullmatch(str(values.get("name", ""))):
        yield f'{where}: {entry!r} is not an extension; write "pgcrypto" or {{"name": "vector", "package": "pgvector"}}'
        return
    where = f"{where}: {values['name']}"
    yield from unknown_keys(where, values, {"name", "package", "schema"})
    package, schema = str(values.get("package", "x")), str(values.get("schema", "public"))
    if not PACKAGE.fullmatch(package) or package.startswith("postgresql-"):
        yield f'{where}: package: {package!r} is not allowed; write "pgvector" for the package postgresql-15-pgvector'
    if not EXTENSION.fullmatch(schema) or schema.startswith("pg_"):
        yield f"{where}: schema: {schema!r} is not allowed; use a-z, 0-9, - and _, with a letter first"


def desired_extensions(given: Mapping[str, Any]) -> dict[str, tuple[DesiredExtension, ...]]:
    """Return the extensions of each database; `faults` found none."""
    return {
        database: tuple(
            DesiredExtension(entry) if isinstance(entry, str) else DesiredExtension(**entry) for entry in entries
        )
        for database, entries in given.items()
    }


def extension_packages(extensions: Extensions, version: int) -> list[str]:
    """Return the packages with the extensions for this version of PostgreSQL."""
    packages = {each.package for entries in extensions.values() for each in entries if each.package}
    return [f"postgresql-{version}-{package}" for package in sorted(packages)]


def extension_statements(
    wanted: Sequence[DesiredExtension], available: Mapping[str, AvailableExtension]
) -> Iterator[str]:
    """Yield the statements that create and update the extensions of a database, after those that they require.

    Raise ExtensionMissing if the server does not offer one of them.
    """
    named, visited = {each.name: each for each in wanted}, set[str]()

    def visit(extension: DesiredExtension, required_by: str) -> Iterator[str]:
        if extension.name in visited:
            return
        visited.add(extension.name)
        offered = available.get(extension.name)
        if offered is None:
            raise ExtensionMissing(_missing(extension, required_by))
        for required in offered.requires:
            yield from visit(named.get(required) or DesiredExtension(required), extension.name)
        if not offered.installed:
            yield from _create(extension, offered)
        elif offered.has_update:
            yield f"ALTER EXTENSION \"{extension.name}\" UPDATE TO '{offered.default}'"

    for each in wanted:
        yield from visit(each, "")


def _create(extension: DesiredExtension, offered: AvailableExtension) -> Iterator[str]:
    if offered.own_schema:  # PostgreSQL creates it
        yield f'CREATE EXTENSION "{extension.name}"'
        return
    if extension.schema != "public":
        yield f'CREATE SCHEMA IF NOT EXISTS "{extension.schema}" AUTHORIZATION pg_database_owner'
    yield f'CREATE EXTENSION "{extension.name}" SCHEMA "{extension.schema}"'


def _missing(extension: DesiredExtension, required_by: str) -> str:
    if required_by:
        return f"{extension.name}, which {required_by} requires, is not installed; list it with its package too"
    if extension.package:
        return f"{extension.name} is not in the package {extension.package}; check both names"
    return f'{extension.name} is not installed; name its package: {{"name": "{extension.name}", "package": "…"}}'


@operation()
def apply_extensions(extensions: Extensions) -> Steps:
    """Create and update the extensions in group data. Others stay as they are."""
    for database, wanted in extensions.items():
        ok, output = run_silently(host, f"{PSQL} --dbname={database}", AVAILABLE_QUERY)
        offered = json.loads("".join(output)) if ok else {}
        available = {
            name: AvailableExtension(**{**each, "requires": tuple(each["requires"])}) for name, each in offered.items()
        }
        try:
            statements = list(extension_statements(wanted, available))
        except ExtensionMissing as missing:
            # Before the server is installed or has the database, a dry run can't know what it offers.
            unknown = not available and not ctx_state.get().is_executing
            message = f"postgres_extensions: {database}: {missing}"
            yield "true" if unknown else FunctionCommand(report_failure, (message,), {})
            continue
        if statements:
            text = Secret(literal=";\n".join(statements) + ";\n")
            yield FunctionCommand(execute_statements, (database, text), {})
