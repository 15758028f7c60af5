"""Properties of a database that no dump contains: read them from one database, and set them on another."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jobs.backup.postgres import copies, quoting
from jobs.format import plural

if TYPE_CHECKING:
    import psycopg

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_FIRST_WITH_PROVIDERS = 15
_FIRST_WITH_STRATEGIES = 15
_ROLE_SETTING = re.compile(r'"((?:[^"]|"")*)" (.+)', re.DOTALL)
_ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,]*?))\s*(?:,|$)')

_LONGEST = 8192  # bytes; all settings of a few hundred roles must fit in a description
_LEFT_OUT = (
    "Not in the set: {} of the database, longer than 8 KiB or not in its encoding (see pg_db_role_setting and \\l+)."
)

_PRIVILEGE = re.compile(r'[A-Z]+ TO (?:PUBLIC|"(?:[^"]|"")+")(?: WITH GRANT OPTION)?')

# PostgreSQL stores these as quoted lists, and every other setting as one text (variable_is_guc_list_quote).
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}


@dataclass(frozen=True, slots=True)
class DatabaseProperties:
    """The properties of a database itself: locale, owner, comment, settings and privileges."""

    encoding: str
    collate: str
    ctype: str
    locale_provider: str
    locale: str | None
    owner: str
    comment: str | None
    connection_limit: int
    settings: tuple[str, ...] = ()
    privileges: tuple[str, ...] = ()
    private: bool = False
    """Nobody has a privilege, not even the owner. Otherwise no `privileges` mean the default ones."""


def require_valid_properties(properties: DatabaseProperties) -> DatabaseProperties:
    """Return the properties; ValueError if they have SQL that no backup writes: a restoring superuser executes it."""
    if properties.locale_provider not in _PROVIDERS.values():
        raise ValueError("the locale provider is not valid")
    if not all(map(_PRIVILEGE.fullmatch, properties.privileges)):
        raise ValueError("a privilege is not valid")
    return properties


def read_properties(connection: psycopg.Connection[Any], database: str) -> tuple[DatabaseProperties, tuple[str, ...]]:
    """Return the properties of a database on the connected server, and a note on those that are left out.

    Every role of the server can give itself a setting in every database: a gigabyte, or bytes of another encoding.
    """
    row = connection.execute(
        _properties_query(connection.info.server_version // 10000).encode(), (_LONGEST, database)
    ).fetchone()
    if row is None:
        raise LookupError(database)
    encoding, collate, ctype, provider, locale, owner, limit, private, commented, comment = row
    settings = [_text(setting) for setting in _read_settings(connection, database)]
    properties = DatabaseProperties(
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        locale_provider=_PROVIDERS[provider],
        locale=locale,
        owner=owner,
        comment=_text(comment),
        connection_limit=limit,
        settings=tuple(setting for setting in settings if setting is not None),
        privileges=tuple(grant for (grant,) in connection.execute(_PRIVILEGES.encode(), (database,)).fetchall()),
        private=private,
    )
    left_out = [*(["the comment"] if commented and properties.comment is None else ())]
    left_out += [plural(settings.count(None), "setting")] if None in settings else []
    return properties, (_LEFT_OUT.format(" and ".join(left_out)),) if left_out else ()


def _read_settings(connection: psycopg.Connection[Any], database: str) -> list[bytes | None]:
    """Return the settings in UTF-8, None for each that is too long; [None] if the server cannot convert one of them."""
    import psycopg

    try:
        with connection.transaction():
            return [setting for (setting,) in connection.execute(_SETTINGS.encode(), (_LONGEST, database)).fetchall()]
    except psycopg.DataError:
        return [None]


def _text(found: bytes | None) -> str | None:
    with suppress(UnicodeDecodeError):
        return found.decode() if found is not None else None
    return None


def _properties_query(major: int) -> str:
    provider = "datlocprovider::pg_catalog.text" if major >= _FIRST_WITH_PROVIDERS else "'c'"
    locale = "datlocale" if major >= 17 else "daticulocale" if major >= _FIRST_WITH_PROVIDERS else "NULL"
    return (
        f"SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype, {provider}, {locale},"  # noqa: S608
        " pg_catalog.pg_get_userbyid(datdba), datconnlimit, coalesce(pg_catalog.cardinality(datacl) = 0, false),"
        " comment IS NOT NULL, CASE WHEN pg_catalog.octet_length(comment) <= %s THEN pg_catalog.textsend(comment) END"
        " FROM pg_catalog.pg_database, pg_catalog.shobj_description(oid, 'pg_database') comment WHERE datname = %s"
    )


# `work_mem=5MB` for all roles; `"shop_reader" work_mem=5MB` for one role.
_SETTINGS = """SELECT CASE WHEN pg_catalog.octet_length(setting) <= %s THEN pg_catalog.textsend(
    coalesce('"' || pg_catalog.replace(rolname, '"', '""') || '" ', '') || setting) END
    FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
    CROSS JOIN pg_catalog.unnest(setconfig) setting LEFT JOIN pg_catalog.pg_roles r ON r.oid = setrole
    WHERE datname = %s AND (setrole = 0 OR rolname IS NOT NULL) ORDER BY 1"""

# `CONNECT TO "shop_reader"`, `CREATE TO "a" WITH GRANT OPTION`, `TEMPORARY TO PUBLIC`; no row for default privileges.
_PRIVILEGES = """SELECT privilege_type || ' TO ' || CASE WHEN grantee = 0 THEN 'PUBLIC'
    ELSE '"' || pg_catalog.replace(pg_catalog.pg_get_userbyid(grantee), '"', '""') || '"' END
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM pg_catalog.pg_database, pg_catalog.aclexplode(datacl) WHERE datname = %s ORDER BY 1"""


def create_statement(
    database: str,
    properties: DatabaseProperties,
    major: int,
    *,
    tablespace: str | None = None,
    closed: bool = False,
    durable: bool = True,
) -> str:
    """Return CREATE DATABASE with the original locale. Nobody can connect to a `closed` one, not even superusers.

    A server that is not `durable` copies the files of the template, which takes least without fsync. On other servers
    the checkpoints of such a copy would slow down everybody.
    """
    options = [
        f"CREATE DATABASE {quoting.identifier(database)} TEMPLATE template0",
        _locale(properties, major),
        *_strategy(major, durable=durable),
        *([f"TABLESPACE {quoting.identifier(tablespace)}"] if tablespace is not None else []),
        *(["ALLOW_CONNECTIONS false"] if closed else []),
    ]
    return " ".join(options)


def admit_restore_statements(database: str, *, superuser: bool) -> tuple[str, ...]:
    """Return the statements that open a closed database to the restoring role, but not to other ordinary roles."""
    name = quoting.identifier(database)
    if superuser:  # a limit does not hold for superusers
        return (f"ALTER DATABASE {name} ALLOW_CONNECTIONS true CONNECTION LIMIT 0",)
    return (f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def admit_all_statements(
    database: str, properties: DatabaseProperties, roles: Collection[str], *, superuser: bool
) -> tuple[str, ...]:
    """Return the statements that open a restored database to all whom its properties allow to connect."""
    on = f"DATABASE {quoting.identifier(database)}"
    default = () if superuser else (f"GRANT CONNECT ON {on} TO PUBLIC",)
    return (
        *(tuple(_privilege_statements(on, properties, roles)) or default),
        connection_limit_statement(database, properties),
    )


def connection_limit_statement(database: str, properties: DatabaseProperties) -> str:
    """Return the statement that restores the connection limit."""
    return f"ALTER DATABASE {quoting.identifier(database)} CONNECTION LIMIT {properties.connection_limit}"


def create_statement_without_locale(
    database: str, properties: DatabaseProperties, major: int, *, closed: bool = False, durable: bool = True
) -> str:
    """Return CREATE DATABASE with the original encoding and the locale C, which every server has."""
    plain = replace(properties, collate="C", ctype="C", locale_provider="libc", locale=None)
    return create_statement(database, plain, major, closed=closed, durable=durable)


def _strategy(major: int, *, durable: bool) -> list[str]:
    return ["STRATEGY file_copy"] if major >= _FIRST_WITH_STRATEGIES and not durable else []


def _locale(properties: DatabaseProperties, major: int) -> str:
    options = [f"ENCODING {quoting.literal(properties.encoding)}"]
    if major >= _FIRST_WITH_PROVIDERS:
        options.append(f"LOCALE_PROVIDER {properties.locale_provider}")
    options += [f"LC_COLLATE {quoting.literal(properties.collate)}", f"LC_CTYPE {quoting.literal(properties.ctype)}"]
    if properties.locale_provider != "libc" and properties.locale is not None:
        options.append(f"{properties.locale_provider.upper()}_LOCALE {quoting.literal(properties.locale)}")
    return " ".join(options)


def alter_statements(database: str, properties: DatabaseProperties, roles: Collection[str]) -> tuple[str, ...]:
    """Return the statements that set the properties on a database, except those for roles that do not exist."""
    on = f"DATABASE {quoting.identifier(database)}"
    settings = (_setting_statement(on, setting, roles) for setting in properties.settings)
    comment = copies.without_refresh_comment(properties.comment)
    return (
        *((owner_statement(database, properties.owner),) if properties.owner in roles else ()),
        *((comment_statement(database, comment),) if comment is not None else ()),
        *((connection_limit_statement(database, properties),) if properties.connection_limit >= 0 else ()),
        *(statement for statement in settings if statement is not None),
        *_privilege_statements(on, properties, roles),
    )


def owner_statement(database: str, owner: str) -> str:
    """Return the statement that sets the owner of a database."""
    return f"ALTER DATABASE {quoting.identifier(database)} OWNER TO {quoting.identifier(owner)}"


def comment_statement(database: str, comment: str | None) -> str:
    """Return the statement that sets the comment of a database; None removes the comment."""
    text = "NULL" if comment is None else quoting.literal(comment)
    return f"COMMENT ON DATABASE {quoting.identifier(database)} IS {text}"


def _setting_statement(on: str, setting: str, roles: Collection[str]) -> str | None:
    role_setting = _ROLE_SETTING.fullmatch(setting)
    if role_setting is None:
        return f"ALTER {on} {_set_clause(setting)}"
    role = role_setting[1].replace('""', '"')
    if role not in roles:
        return None
    return f"ALTER ROLE {quoting.identifier(role)} IN {on} {_set_clause(role_setting[2])}"


def _set_clause(setting: str) -> str:
    key, _, value = setting.partition("=")
    name = ".".join(quoting.identifier(part) for part in key.split("."))
    if key.lower() not in _LISTS:
        return f"SET {name} TO {quoting.literal(value)}"
    return f"SET {name} TO {', '.join(map(quoting.literal, _elements(value))) or quoting.literal('')}"


def _elements(value: str) -> Iterator[str]:
    for quoted, plain in _ELEMENT.findall(value):
        if quoted or plain:
            yield quoted.replace('""', '"') or plain


def _privilege_statements(on: str, properties: DatabaseProperties, roles: Collection[str]) -> Iterator[str]:
    if not properties.privileges and not properties.private:
        return
    owner = [quoting.identifier(properties.owner)] if properties.owner in roles else []
    yield f"REVOKE ALL ON {on} FROM {', '.join(['PUBLIC', *owner])}"
    for grant in properties.privileges:
        privilege, _, grantee = grant.partition(" TO ")
        role = grantee.removesuffix(" WITH GRANT OPTION")
        if role == "PUBLIC" or role[1:-1].replace('""', '"') in roles:
            yield f"GRANT {privilege} ON {on} TO {grantee}"
