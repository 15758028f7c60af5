"""What belongs to a database and is left out of every dump: read from one, and given to another."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from jobs.backup.postgres import quoting
from jobs.backup.sets.manifest import Settings

if TYPE_CHECKING:
    import psycopg

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_FIRST_WITH_PROVIDERS = 15
_OF_A_ROLE = re.compile(r'"((?:[^"]|"")*)" (.+)', re.DOTALL)
_ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,]*?))\s*(?:,|$)')

# PostgreSQL keeps these quoted, as lists; every other setting is one text (variable_is_guc_list_quote).
_LISTS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}


def ask(connection: psycopg.Connection[Any], database: str) -> Settings:
    """The settings of a database of the server that the connection leads to."""
    row = connection.execute(_question(connection.info.server_version // 10000).encode(), (database,)).fetchone()
    if row is None:
        raise LookupError(database)
    encoding, collate, ctype, provider, locale, owner, comment, limit = row
    return Settings(
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        locale_provider=_PROVIDERS[provider],
        locale=locale,
        owner=owner,
        comment=comment,
        connection_limit=limit,
        settings=tuple(one for (one,) in connection.execute(_SETTINGS.encode(), (database,)).fetchall()),
        privileges=tuple(one for (one,) in connection.execute(_PRIVILEGES.encode(), (database,)).fetchall()),
    )


def _question(major: int) -> str:
    provider = "datlocprovider::text" if major >= _FIRST_WITH_PROVIDERS else "'c'"
    locale = "datlocale" if major >= 17 else "daticulocale" if major >= _FIRST_WITH_PROVIDERS else "NULL"
    return (
        f"SELECT pg_encoding_to_char(encoding), datcollate, datctype, {provider}, {locale}, pg_get_userbyid(datdba),"  # noqa: S608
        " shobj_description(oid, 'pg_database'), datconnlimit FROM pg_database WHERE datname = %s"
    )


# `work_mem=5MB`, and with the role before it where it is one role's: `"shop_reader" work_mem=5MB`.
_SETTINGS = """SELECT coalesce('"' || replace(rolname, '"', '""') || '" ', '') || setting
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN unnest(setconfig) setting
    LEFT JOIN pg_roles r ON r.oid = setrole WHERE datname = %s AND (setrole = 0 OR rolname IS NOT NULL) ORDER BY 1"""

# `CONNECT TO "shop_reader"`, `CREATE TO "a" WITH GRANT OPTION`, `TEMPORARY TO PUBLIC`; none if never touched.
_PRIVILEGES = """SELECT privilege_type || ' TO ' || CASE WHEN grantee = 0 THEN 'PUBLIC'
    ELSE '"' || replace(pg_get_userbyid(grantee), '"', '""') || '"' END
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM pg_database, aclexplode(datacl) WHERE datname = %s ORDER BY 1"""


def create(database: str, settings: Settings, major: int, *, closed: bool = False) -> str:
    """CREATE DATABASE with the locale that the settings name, on a server of this version."""
    limit = " CONNECTION LIMIT 0" if closed else ""
    return f"CREATE DATABASE {quoting.name(database)} TEMPLATE template0 {_locale(settings, major)}{limit}"


def limit(database: str, settings: Settings) -> str:
    """Let as many in as the settings say."""
    return f"ALTER DATABASE {quoting.name(database)} CONNECTION LIMIT {settings.connection_limit}"


def create_plain(database: str, settings: Settings, major: int) -> str:
    """CREATE DATABASE with the same encoding and no locale at all, which every server has."""
    provider = " LOCALE_PROVIDER libc" if major >= _FIRST_WITH_PROVIDERS else ""
    encoding = quoting.text(settings.encoding)
    return (
        f"CREATE DATABASE {quoting.name(database)} TEMPLATE template0 ENCODING {encoding}{provider} "
        "LC_COLLATE 'C' LC_CTYPE 'C'"
    )


def _locale(settings: Settings, major: int) -> str:
    words = [f"ENCODING {quoting.text(settings.encoding)}"]
    if major >= _FIRST_WITH_PROVIDERS:
        words.append(f"LOCALE_PROVIDER {settings.locale_provider}")
    words += [f"LC_COLLATE {quoting.text(settings.collate)}", f"LC_CTYPE {quoting.text(settings.ctype)}"]
    if settings.locale_provider != "libc" and settings.locale is not None:
        words.append(f"{settings.locale_provider.upper()}_LOCALE {quoting.text(settings.locale)}")
    return " ".join(words)


def give(database: str, settings: Settings, roles: Collection[str]) -> tuple[str, ...]:
    """The statements that give a database its settings; what names a role that isn't there is left out."""
    on = f"DATABASE {quoting.name(database)}"
    return (
        *((f"ALTER {on} OWNER TO {quoting.name(settings.owner)}",) if settings.owner in roles else ()),
        *((f"COMMENT ON {on} IS {quoting.text(settings.comment)}",) if settings.comment is not None else ()),
        *((limit(database, settings),) if settings.connection_limit >= 0 else ()),
        *(told for one in settings.settings if (told := _setting(on, one, roles)) is not None),
        *_privileges(on, settings.privileges, roles),
    )


def _setting(on: str, one: str, roles: Collection[str]) -> str | None:
    of_role = _OF_A_ROLE.fullmatch(one)
    if of_role is None:
        return f"ALTER {on} {_set(one)}"
    role = of_role[1].replace('""', '"')
    return f"ALTER ROLE {quoting.name(role)} IN {on} {_set(of_role[2])}" if role in roles else None


def _set(one: str) -> str:
    key, _, value = one.partition("=")
    name = ".".join(quoting.name(part) for part in key.split("."))
    if key.lower() not in _LISTS:
        return f"SET {name} TO {quoting.text(value)}"
    return f"SET {name} TO {', '.join(map(quoting.text, _elements(value))) or quoting.text('')}"


def _elements(value: str) -> Iterator[str]:
    for quoted, plain in _ELEMENT.findall(value):
        if quoted or plain:
            yield quoted.replace('""', '"') or plain


def _privileges(on: str, privileges: tuple[str, ...], roles: Collection[str]) -> Iterator[str]:
    if not privileges:
        return
    yield f"REVOKE ALL ON {on} FROM PUBLIC"
    for one in privileges:
        privilege, _, grantee = one.partition(" TO ")
        role = grantee.removesuffix(" WITH GRANT OPTION")
        if role == "PUBLIC" or role[1:-1].replace('""', '"') in roles:
            yield f"GRANT {privilege} ON {on} TO {grantee}"
