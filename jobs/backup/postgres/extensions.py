"""Extensions that a server must be configured for: it preloads their library, or names their one database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Extensions that can be created only if the server preloads these libraries.
LIBRARIES = {
    "citus": ("citus",),
    "pg_cron": ("pg_cron",),
    "pg_net": ("pg_net",),
    "pg_squeeze": ("pg_squeeze",),
    "pg_stat_kcache": ("pg_stat_statements", "pg_stat_kcache"),
    "pgaudit": ("pgaudit",),
    "pglogical": ("pglogical",),
    "timescaledb": ("timescaledb",),
}
# Settings with the name of the one database of a server that can have the extension.
ONE_DATABASE = {"pg_cron": "cron.database_name", "pg_net": "pg_net.database_name"}


def preloaded_libraries(extensions: Iterable[str]) -> tuple[str, ...]:
    """Return the libraries that a server with these extensions preloads."""
    return tuple(dict.fromkeys(library for name in sorted(extensions) for library in LIBRARIES.get(name, ())))


def scratch_settings(extensions: Iterable[str], database: str) -> dict[str, str]:
    """Return the settings with which `database` of a scratch server can have the extensions.

    Without worker processes, no extension does anything there: pg_cron would start the jobs of the set.
    """
    names = set(extensions)
    libraries = preloaded_libraries(names)
    if not libraries:
        return {}
    named = {setting: database for name, setting in ONE_DATABASE.items() if name in names}
    return {"shared_preload_libraries": ",".join(libraries), "max_worker_processes": "0", **named}


def configuration_fault(
    extensions: Iterable[str], settings: Mapping[str, str], database: str, *, is_copy: bool
) -> str | None:
    """Return why a database of a server cannot have the extensions; None if it can.

    `settings` are those of the server that the role may read. A restore fills a copy with another name, or `database`.
    """
    names = set(extensions)
    preloaded = settings.get("shared_preload_libraries")
    missing = (
        [] if preloaded is None else [name for name in preloaded_libraries(names) if name not in _words(preloaded)]
    )
    if missing:
        return (
            f"the server does not preload {', '.join(missing)}, which an extension of the set needs; "
            "add it to shared_preload_libraries and restart the server"
        )
    for name, setting in ONE_DATABASE.items():
        if name not in names:
            continue
        if is_copy:
            return (
                f"{name} works only in the database that {setting} names, so not in the copy that --create and "
                f"--replace fill first. Set {setting} = '{database}', rename an old database {database} right after "
                f"ending its connections, create an empty {database}, and restore without --create and --replace"
            )
        if settings.get(setting, database) != database:
            return (
                f"{name} works only in the database that {setting} names, which is {settings[setting]}; "
                f"set {setting} = '{database}' and restart the server"
            )
    return None


def _words(preloaded: str) -> set[str]:
    return {word.strip().strip('"').rpartition("/")[2] for word in preloaded.split(",")}
