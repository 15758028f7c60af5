import pytest

from jobs.backup.postgres.extensions import configuration_fault, preloaded_libraries, scratch_settings

CRON = {"shared_preload_libraries": 'auto_explain, "$libdir/pg_cron"', "cron.database_name": "shop"}


@pytest.mark.parametrize(
    ("extensions", "settings"),
    [
        ((), {}),
        (("plpgsql", "postgis"), {}),
        (("pgaudit",), {"shared_preload_libraries": "pgaudit", "max_worker_processes": "0"}),
        (
            ("pg_stat_kcache", "pg_cron"),
            {
                "shared_preload_libraries": "pg_cron,pg_stat_statements,pg_stat_kcache",
                "max_worker_processes": "0",
                "cron.database_name": "scratch",
            },
        ),
    ],
)
def test_a_scratch_server_gets_the_settings_that_extensions_need(
    extensions: tuple[str, ...], settings: dict[str, str]
) -> None:
    assert scratch_settings(extensions, "scratch") == settings


def test_a_library_is_preloaded_once() -> None:
    assert preloaded_libraries(["pg_stat_kcache", "pg_stat_kcache"]) == ("pg_stat_statements", "pg_stat_kcache")


@pytest.mark.parametrize(
    ("extensions", "settings", "is_copy", "fault"),
    [
        ((), {}, True, None),
        (("pgcrypto",), {"shared_preload_libraries": ""}, True, None),
        (("pg_cron",), CRON, False, None),
        (("pg_cron",), CRON, True, "works only in the database that cron.database_name names, so not in the copy"),
        (
            ("pg_cron",),
            {**CRON, "cron.database_name": "other"},
            False,
            "which is other; set cron.database_name = 'shop'",
        ),
        (("pgaudit",), CRON, False, "the server does not preload pgaudit"),
        (("pgaudit", "pg_cron"), {}, False, None),
    ],
)
def test_a_server_that_cannot_have_the_extensions_is_reported_before_the_restore(
    extensions: tuple[str, ...], settings: dict[str, str], is_copy: bool, fault: str | None
) -> None:
    found = configuration_fault(extensions, settings, "shop", is_copy=is_copy)
    assert (found is None) == (fault is None)
    assert (fault or "") in (found or "")
