"""Compare two databases as their users see them: definitions, rows, large objects, sequences, settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import psycopg
from psycopg import sql

Row = tuple[Any, ...]

_USERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_NOT_IN_EXTENSION = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {0}.oid AND d.classid = '{1}'::regclass AND d.deptype = 'e')"
)

# One query for each topic. Its rows must not contain oids, which differ between servers.
_QUERIES = {
    "schemas": f"""SELECT nspname, pg_get_userbyid(nspowner), obj_description(oid, 'pg_namespace')
        FROM pg_namespace n WHERE {_USERS} AND nspname <> 'public'""",
    "extensions": """SELECT extname, extversion, nspname FROM pg_extension e
        JOIN pg_namespace n ON n.oid = extnamespace""",
    "relations": f"""SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text, pg_get_userbyid(c.relowner),
        c.relrowsecurity, c.relforcerowsecurity, c.relispartition, pg_get_expr(c.relpartbound, c.oid),
        pg_get_partkeydef(c.oid), c.reloptions::text, obj_description(c.oid, 'pg_class'), c.relispopulated,
        (SELECT array_agg(inhparent::regclass::text ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = c.oid)::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {_USERS} AND c.relkind <> 't'""",
    "columns": f"""SELECT n.nspname, c.relname,
        (SELECT count(*) FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attnum BETWEEN 1 AND a.attnum
            AND NOT b.attisdropped),
        a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text, a.attgenerated::text,
        pg_get_expr(ad.adbin, ad.adrelid), col_description(c.oid, a.attnum), co.collname, a.attacl::text
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef ad ON ad.adrelid = c.oid AND ad.adnum = a.attnum
        LEFT JOIN pg_collation co ON co.oid = a.attcollation
        WHERE {_USERS} AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')""",
    "constraints": f"""SELECT n.nspname, conrelid::regclass::text, conname, pg_get_constraintdef(c.oid), convalidated
        FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace
        WHERE {_USERS} AND contype <> 'n' AND conparentid = 0""",
    "indexes": f"""SELECT n.nspname, tablename, indexname, indexdef FROM pg_indexes
        JOIN pg_namespace n ON n.nspname = schemaname WHERE {_USERS}""",
    "views": f"""SELECT n.nspname, c.relname, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n
        ON n.oid = c.relnamespace WHERE {_USERS} AND c.relkind IN ('v', 'm')""",
    "rules": f"""SELECT n.nspname, tablename, rulename, definition FROM pg_rules
        JOIN pg_namespace n ON n.nspname = schemaname WHERE {_USERS}""",
    "triggers": """SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled::text
        FROM pg_trigger WHERE NOT tgisinternal""",
    "event triggers": """SELECT evtname, evtevent, evtfoid::regproc::text, evtenabled::text, pg_get_userbyid(evtowner)
        FROM pg_event_trigger""",
    "policies": """SELECT schemaname, tablename, policyname, permissive, roles::text, cmd, qual, with_check
        FROM pg_policies""",
    "functions": f"""SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), p.prokind::text,
        CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END, pg_get_userbyid(p.proowner), p.proacl::text
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
        WHERE {_USERS} AND {_NOT_IN_EXTENSION.format("p", "pg_proc")}""",
    "types": f"""SELECT n.nspname, t.typname, t.typtype::text, format_type(t.typbasetype, t.typtypmod),
        (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)::text
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE {_USERS} AND t.typtype IN ('e', 'd', 'c', 'r')""",
    "statistics": "SELECT stxname, pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
    "publications": """SELECT p.pubname, pubinsert, pubupdate, pubdelete, pubtruncate, t.schemaname, t.tablename
        FROM pg_publication p LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname""",
    "privileges": f"""SELECT n.nspname, c.relname, a.grantee::regrole::text, a.privilege_type, a.is_grantable
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a WHERE {_USERS}""",
    "privileges on schemas": f"""SELECT n.nspname, a.grantee::regrole::text, a.privilege_type, a.is_grantable
        FROM pg_namespace n, aclexplode(n.nspacl) a WHERE {_USERS}""",
    "default privileges": """SELECT defaclrole::regrole::text, defaclnamespace::regnamespace::text, defaclobjtype::text,
        defaclacl::text FROM pg_default_acl""",
    "large objects": """SELECT l.oid::int8, pg_get_userbyid(l.lomowner), l.lomacl::text,
        obj_description(l.oid, 'pg_largeobject'), md5(lo_get(l.oid)) FROM pg_largeobject_metadata l""",
    "locale": """SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database
        WHERE datname = current_database()""",
    "settings": """SELECT coalesce(setrole::regrole::text, '-'), setconfig::text FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    "database": """SELECT shobj_description(oid, 'pg_database'), datconnlimit FROM pg_database
        WHERE datname = current_database()""",
}


@dataclass(frozen=True)
class Portrait:
    """What a comparison looks at, in an order that does not depend on the server."""

    topics: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, tuple[int, str]]
    sequences: Mapping[str, Row]


def portrait(url: str, **options: Any) -> Portrait:
    """Query everything that `differences` compares."""
    with psycopg.connect(url, **options) as connection:
        connection.execute("SET search_path = pg_catalog, pg_temp")
        connection.execute("SET row_security = off")
        topics = {name: _sorted(connection.execute(query.encode()).fetchall()) for name, query in _QUERIES.items()}
        return Portrait(topics, _rows(connection), _sequences(connection))


def differences(one: Portrait, other: Portrait, *, ignore: Collection[str] = ()) -> list[str]:
    """Return one line for each difference.

    `ignore` names queries to skip: servers of different versions print `views` differently.
    """
    found = []
    for name in _QUERIES.keys() - set(ignore):
        found += [f"{name}: {line}" for line in _changed(one.topics[name], other.topics[name])]
    found += [f"rows: {line}" for line in _changed(_lines(one.rows), _lines(other.rows))]
    found += [f"sequences: {line}" for line in _changed(_lines(one.sequences), _lines(other.sequences))]
    return found


def _rows(connection: psycopg.Connection) -> dict[str, tuple[int, str]]:
    """Return the row count and a hash of all rows, for each table and filled materialized view.

    Of a table of an extension, only the rows that the extension marks as user data count. It can add others itself.
    """
    tables = connection.execute(
        "SELECT n.nspname, c.relname, coalesce(extcondition[array_position(extconfig, c.oid)], '')"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_extension ON c.oid = ANY (extconfig)"
        f" WHERE ({_USERS} AND (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated))"
        " OR c.relkind = 'r' AND extconfig IS NOT NULL".encode()
    ).fetchall()
    query = sql.SQL(
        "SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '')"
        " FROM (SELECT * FROM ONLY {} {}) t"
    )
    found = {}
    for schema, name, condition in tables:
        row = connection.execute(query.format(sql.Identifier(schema, name), sql.SQL(condition))).fetchone()
        assert row is not None
        found[f"{schema}.{name}"] = (row[0], row[1])
    return found


def _sequences(connection: psycopg.Connection) -> dict[str, Row]:
    rows = connection.execute(
        "SELECT schemaname, sequencename, sequenceowner, data_type::text, start_value, min_value, max_value,"
        " increment_by, cycle, last_value FROM pg_sequences WHERE NOT EXISTS ("  # of an extension, and not dumped
        " SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.deptype = 'e'"
        " AND d.objid = format('%I.%I', schemaname, sequencename)::regclass"
        " AND d.objid <> ALL (coalesce(extconfig, '{}')))"
    ).fetchall()
    return {f"{schema}.{name}": tuple(row) for schema, name, *row in rows}


def _sorted(rows: list[Row]) -> tuple[str, ...]:
    return tuple(sorted(repr(row) for row in rows))


def _lines(named: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(f"{name!r} {value!r}" for name, value in sorted(named.items()))


def _changed(one: tuple[str, ...], other: tuple[str, ...]) -> list[str]:
    changes = unified_diff(one, other, lineterm="", n=0)
    return [line for line in changes if not line.startswith(("---", "+++", "@@"))]
