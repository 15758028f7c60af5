"""deploys/postgres_upgrade.py on booted hosts of Debian 13, with Debian 12's PostgreSQL 15 and the system's own 17."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from shlex import quote
from typing import Any

import pytest

from deploys.lib.postgres.upgrade import LOG, SCRIPT, UNIT
from tests.lab import pitr
from tests.lab.lab import Lab
from tests.lab.pyinfra import PyinfraRun
from tests.parts.patience import until
from tests.parts.s3 import Bucket

PSQL = "cd / && runuser -u postgres -- psql -AtqX shop -c"
INFO = "cd / && runuser -u postgres -- pgbackrest info"
OLD_SOURCES = "sed s/trixie/bookworm/g /etc/apt/sources.list > /etc/apt/sources.list.d/bookworm.list"
DATA: dict[str, Any] = {
    "postgres_repository": "",
    "postgres_extensions": {"shop": ["pg_trgm", {"name": "semver", "package": "semver"}]},
}
FILL = (
    "CREATE TABLE rows (id int PRIMARY KEY, version semver, text text); "
    "INSERT INTO rows SELECT i, '1.2.3', md5(i::text) FROM generate_series(1, 1000) i; "
    "CREATE INDEX ON rows USING gin (text gin_trgm_ops); SELECT lo_from_bytea(4711, 'large')"
)
CONTENT = "SELECT count(*), min(version), md5(string_agg(text, '' ORDER BY id)), lo_get(4711) FROM rows"


def prepare(lab: Lab, run: Callable[..., PyinfraRun]) -> str:
    """Set up PostgreSQL 15 with some data, and return it."""
    lab.ask(lab.hosts[0], OLD_SOURCES)
    first = run(postgres_version=15)
    assert first.code == 0, first.text
    lab.ask(lab.hosts[0], f"{PSQL} {quote(FILL)}")
    return content(lab)


def content(lab: Lab) -> str:
    return lab.ask(lab.hosts[0], f"{PSQL} {quote(CONTENT)}")


def server_version(lab: Lab) -> str:
    return lab.ask(lab.hosts[0], f"{PSQL} 'SHOW server_version_num' | cut -c 1-2")


def refuse_tablespaces(lab: Lab) -> None:
    """Run the script that the check left on the host once more, while the cluster has a tablespace outside of it."""
    [host] = lab.hosts
    lab.ask(host, "install --directory --owner=postgres /srv/space")
    lab.ask(host, f"{PSQL} \"CREATE TABLESPACE space LOCATION '/srv/space'\"")
    refused = lab.ssh(host, f"sh {SCRIPT}")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "The cluster has tablespaces" in refused.stdout
    assert "\n/srv/space\n" in refused.stdout
    assert "PostgreSQL 15 runs as before; nothing was changed." in refused.stdout
    lab.ask(host, f"{PSQL} 'DROP TABLESPACE space'")


@pytest.mark.long
def test_a_copy_is_upgraded_and_the_old_cluster_stays(fresh: Callable[..., Lab], seaweed: Bucket) -> None:
    lab = fresh(1, 13)
    host = lab.hosts[0]
    run = partial(pitr.run, lab, bucket=seaweed, **DATA)
    upgrade = partial(run, of="postgres_upgrade", postgres_version=17)
    before = prepare(lab, run)
    process = lab.ask(host, "systemctl show --property=MainPID postgresql@15-main")

    empty = run(postgres_version=17)
    assert empty.code == 1, empty.text
    assert "the host has a server of PostgreSQL 15, and group data asks for 17" in empty.text
    lab.ask(host, f"{PSQL} 'CREATE TABLE bad (what regproc)'")
    refused = upgrade("--data", "mode=copy", "--data", "backup=taken")
    assert refused.code == 1, refused.text
    assert "shop.public.bad.what" in refused.text.replace("In database: ", "") or "public.bad.what" in refused.text
    assert "PostgreSQL 15 runs as before; nothing was changed." in refused.text
    lab.ask(host, f"{PSQL} 'DROP TABLE bad'")
    checked = upgrade()
    assert checked.code == 0, checked.text
    assert "pg_upgrade --check found no problem" in checked.text
    assert lab.ask(host, "systemctl show --property=MainPID postgresql@15-main") == process
    refuse_tablespaces(lab)
    assert run(postgres_version=15).changes == 0, "a check leaves nothing behind"

    done = upgrade("--data", "mode=copy", "--data", "backup=taken")
    assert done.code == 0, done.text
    assert "the old cluster is as it was before" in done.text
    assert (server_version(lab), content(lab)) == ("17", before)
    again = run(postgres_version=17)
    assert (again.code, again.changes) == (0, 0), again.text
    assert upgrade("--data", "mode=copy", "--data", "backup=taken").changes == 0
    assert lab.ask(host, "systemctl is-enabled postgresql@15-main postgresql@17-main; true") == "disabled\nenabled"


KILLED_AT = (
    ("link", "Performing Consistency Checks"),
    ("link", "Restoring database schemas"),
    ("link", "Setting next OID"),
    ("link", "Sync data directory"),
    ("link", "minimal optimizer statistics"),
)


@pytest.mark.release
def test_an_upgrade_that_is_killed_ends_right(fresh: Callable[..., Lab], seaweed: Bucket) -> None:
    lab = fresh(1, 13)
    host = lab.hosts[0]

    def kill_at(text: str) -> None:
        """Kill the upgrade as soon as its log has a text."""
        watch = f"until grep -qF '{text}' {LOG}; do sleep 0.02; done; systemctl kill --signal=KILL {UNIT}"
        lab.ask(host, f"rm -f {LOG}; systemd-run --quiet --collect --unit=killer sh -c {quote(watch)}")

    with pitr.behind_tls(lab, seaweed) as endpoint:
        settings = {"stanza": "main", "full": "0 3 * * 0", "repositories": [pitr.repository(seaweed, endpoint, "up")]}
        run = partial(pitr.run, lab, bucket=seaweed, postgres_pitr=settings, **DATA)
        upgrade = partial(run, of="postgres_upgrade", postgres_version=17, timeout=600)
        before = prepare(lab, run)
        until(lambda: "full backup: " in lab.ask(host, INFO), 90, saw=lambda: lab.ask(host, INFO))

        # Files are shared already, and the old server runs again.
        kill_at("Setting next OID")
        killed = upgrade("--data", "mode=link")
        assert killed.code == 1, killed.text
        unfinished = run(postgres_version=17)
        assert "an upgrade from PostgreSQL 15 to 17 is unfinished; first run" in unfinished.text, unfinished.text
        back = upgrade("--data", "mode=back")
        assert back.code == 0, back.text
        assert (server_version(lab), content(lab)) == ("15", before)
        lab.ask(host, f"{PSQL} \"INSERT INTO rows VALUES (1001, '2.0.0', 'after')\"")
        before = content(lab)
        restored = run(postgres_version=15)
        assert (restored.code, restored.changes) == (0, 0), restored.text

        for mode, text in KILLED_AT:
            kill_at(text)
            killed = upgrade("--data", f"mode={mode}")
            assert killed.code == 1, (text, killed.text)
        too_late = upgrade("--data", "mode=back")
        assert "was opened, and may have new data" in too_late.text, too_late.text
        done = upgrade("--data", "mode=link")
        assert done.code == 0, done.text
        assert "a new full backup is in each repository" in done.text
        assert (server_version(lab), content(lab)) == ("17", before)
        again = run(postgres_version=17)
        assert (again.code, again.changes) == (0, 0), again.text
        assert lab.ask(host, "grep pg1-path /etc/pgbackrest/pgbackrest.conf").endswith("/17/main")
