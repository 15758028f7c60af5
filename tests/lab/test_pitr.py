"""Point-in-time recovery on booted hosts, with real pgBackRest and a real S3 server (SeaweedFS)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from deploys.lib.postgres.pitr import CONFIG
from deploys.lib.postgres.restore import UNFINISHED, UNIT
from tests.lab import pitr
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.pyinfra import end
from tests.parts.patience import until
from tests.parts.s3 import Bucket

METRICS = "systemctl start groundcrew-pitr-metrics; cat /var/lib/prometheus/node-exporter/groundcrew-pitr.prom"
TICK = 'cd /; while runuser -u postgres -- psql -qX shop -c "INSERT INTO ticks DEFAULT VALUES"; do sleep 1; done'
INFO = "cd / && runuser -u postgres -- pgbackrest info"
PSQL = "cd / && runuser -u postgres -- psql -AtX"


@pytest.mark.long
def test_a_server_archives_to_its_repositories(fresh: Callable[..., Lab], seaweed: Bucket) -> None:
    lab = fresh(1, 13)
    host = lab.hosts[0]
    with pitr.behind_tls(lab, seaweed) as endpoint:
        run = partial(pitr.run, lab, bucket=seaweed)
        first, second = (pitr.repository(seaweed, endpoint, folder) for folder in ("first", "second"))
        settings: dict[str, Any] = {"stanza": "main", "full": "0 3 * * 0", "diff": "0 3 * * 1-6"}
        with lab.process_list(host) as processes:
            result = run("-vvv", "--diff", "--debug", postgres_pitr={**settings, "repositories": [first]})
        assert result.code == 0, result.text
        secrets = (pitr.CIPHER, seaweed.secret)
        assert [secret for secret in secrets if secret in result.text] == []
        assert [line for line in processes if any(secret in line for secret in secrets)] == []
        assert lab.ask(host, "stat -c '%a %U' /etc/pgbackrest/pgbackrest.conf") == "640 postgres"
        again = run(postgres_pitr={**settings, "repositories": [first]})
        assert (again.code, again.changes) == (0, 0), again.text

        until(lambda: "full backup: " in lab.ask(host, INFO), 90, saw=lambda: lab.ask(host, INFO))
        wrong = run(postgres_pitr={**settings, "repositories": [first, second]}, secret="wrong")
        assert wrong.code == 1, wrong.text
        assert "the repositories were not accepted, and the configuration stays as it was" in wrong.text
        both = run(postgres_pitr={**settings, "incr": "0 9 * * *", "repositories": [first, second]})
        assert both.code == 0, both.text
        until(lambda: lab.ask(host, INFO).count("full backup: ") == 2, 90, saw=lambda: lab.ask(host, INFO))
        lab.ask(host, "systemctl start groundcrew-pitr-backup@incr")
        metrics = lab.ask(host, METRICS)
        for expected in (
            'repository_ok{repository="2"} 1',
            'backup_failed{repository="1"} 0',
            'last_backup_timestamp_seconds{repository="1",type="full"} 1',
            'last_backup_timestamp_seconds{repository="2",type="incr"} 1',
            "archive_lag_seconds 0",
        ):
            assert expected in metrics, metrics
        timers = "systemctl list-timers --all --no-legend 'groundcrew-pitr-*' | grep -o 'pitr-[a-z]*.timer' | sort"
        assert lab.ask(host, timers).split() == [f"pitr-{name}.timer" for name in ("diff", "full", "incr", "metrics")]

        # The repositories are gone. The server goes on, and WAL waits.
        (lab.folder / "s3-is-down").touch()
        lab.ask(host, f"{PSQL} -c 'CREATE TABLE waits ()' -c 'SELECT pg_switch_wal()'")
        metrics = lab.ask(host, METRICS)
        assert 'repository_ok{repository="1"} 0' in metrics
        assert "archive_waiting_segments 1" in metrics
        (lab.folder / "s3-is-down").unlink()
        until(lambda: "archive_waiting_segments 0" in lab.ask(host, METRICS), 90)

        removed = run()
        assert removed.code == 0, removed.text
        assert lab.ask(host, "ls /etc/systemd/system/groundcrew-pitr-* /etc/pgbackrest/pgbackrest.conf; true") == ""
        assert lab.ask(host, f"{PSQL} -c 'SHOW archive_mode'") == "off"
        lab.ask(host, f"echo '[global]' > {CONFIG}")
        assert run().changes == 0, "somebody's own configuration stays"
        foreign = run(postgres_pitr={**settings, "repositories": [first]})
        assert (foreign.code, lab.ask(host, f"cat {CONFIG}")) == (1, "[global]"), foreign.text
        assert f"{CONFIG} is not from groundcrew; move it away" in foreign.text
        lab.ask(host, f"rm {CONFIG}")
        taken = run(postgres_pitr={**settings, "repositories": [first]})
        assert taken.code == 1, taken.text
        assert "If no other server archives to it any more, confirm with --data old_server=stopped" in taken.text


def two_moments(lab: Lab, host: Host) -> tuple[str, str, str, str]:
    """Write rows all the time; return a moment meanwhile and the rows it had, and a later moment with its rows."""
    lab.ask(host, f"{PSQL} shop -c 'CREATE TABLE ticks (at timestamptz DEFAULT clock_timestamp())'")
    lab.ask(host, f"systemd-run --quiet --unit=ticks sh -c '{TICK}'")
    until(lambda: int(lab.ask(host, f"{PSQL} shop -c 'SELECT count(*) FROM ticks'")) > 3)
    moment = lab.ask(host, f"{PSQL} -c 'SELECT clock_timestamp()'")
    rows = lab.ask(host, f"{PSQL} shop -c \"SELECT max(at), count(*) FROM ticks WHERE at <= '{moment}'\"")
    pause = f"SELECT count(*) > 1 FROM ticks WHERE at > '{moment}'"
    until(lambda: lab.ask(host, f'{PSQL} shop -c "{pause}"') == "t")
    lab.ask(host, "systemctl stop ticks")
    later = lab.ask(host, f"{PSQL} -c 'SELECT clock_timestamp()'")
    rows_later = lab.ask(host, f"{PSQL} shop -c 'SELECT max(at), count(*) FROM ticks'")
    return moment, rows, later, rows_later


@pytest.mark.long
@pytest.mark.parametrize(("debian", "major"), [(12, 15), pytest.param(13, 17, marks=pytest.mark.release)])
def test_a_moment_is_restored_on_the_same_and_on_a_new_host(
    fresh: Callable[..., Lab], seaweed: Bucket, debian: int, major: int
) -> None:
    lab = fresh(2, debian)
    new, host = lab.hosts
    with pitr.behind_tls(lab, seaweed) as endpoint:
        settings = {"stanza": "main", "full": "0 3 * * 0", "repositories": [pitr.repository(seaweed, endpoint, "shop")]}
        run = partial(pitr.run, lab, bucket=seaweed, postgres_pitr=settings)
        restore = partial(run, of="postgres_restore")
        assert run().code == 0
        until(lambda: "full backup: " in lab.ask(host, INFO), 90, saw=lambda: lab.ask(host, INFO))
        moment, rows, later, rows_later = two_moments(lab, host)
        lab.ask(host, f"{PSQL} shop -c 'DROP TABLE ticks'")

        process = lab.ask(host, f"systemctl show --property=MainPID postgresql@{major}-main")
        early = restore("--data", "to=2026-01-01 00:00")
        assert early.code == 1, early.text[-3000:]
        assert "is before the end of the oldest backup" in early.text, early.text
        assert "repository 1: from 2" in early.text, early.text
        assert lab.ask(host, f"systemctl show --property=MainPID postgresql@{major}-main") == process

        killed = pitr.begun(
            lab, "--data", f"to={moment}", bucket=seaweed, postgres_pitr=settings, of="postgres_restore"
        )
        lab.ask(host, f"until test -e {UNFINISHED}; do sleep 0.1; done; systemctl kill --signal=KILL {UNIT}")
        killed.kill()
        end(killed)
        assert f"a restore is unfinished; first run deploys/postgres_restore.py --data 'to={moment}'" in run().text
        result = restore("--data", f"to={moment}")
        assert result.code == 0, result.text
        assert f"restored up to the transaction of {rows[:19]}" in result.text
        found = f"{PSQL} shop -c 'SELECT max(at), count(*) FROM ticks'"
        assert lab.ask(host, found) == rows
        assert lab.ask(host, f"ls /var/lib/postgresql/{major} | grep -c main.before") == "1"
        again = restore("--data", f"to={moment}")
        assert (again.code, again.changes) == (0, 0), again.text
        assert run().changes == 0

        # The moment was too early. A later one is on the timeline that the restore left.
        result = restore("--data", f"to={later}")
        assert result.code == 0, result.text
        assert lab.ask(host, found) == rows_later

        # The server is lost. Only the repository, the secrets and group data are left.
        lab.ask(host, f"{PSQL} shop -c 'INSERT INTO ticks DEFAULT VALUES'; systemctl stop postgresql@{major}-main")
        rows = f"{int(rows_later.partition('|')[2]) + 1}"
        both = restore("--data", "to=latest", "--data", "old_server=stopped", server=None)
        assert both.code == 1, both.text
        assert "to=latest would stop and restore lab-1, lab-2; name the one to restore: --limit lab-1" in both.text
        shared = restore("--data", "to=latest", server=0)
        assert shared.code == 1, shared.text
        assert "two servers can't share one; stop it" in shared.text
        result = restore("--data", "to=latest", "--data", "old_server=stopped", server=0)
        assert result.code == 0, result.text
        assert lab.ask(new, found).partition("|")[2] == rows
        assert lab.ask(new, "systemctl is-active groundcrew-pitr-full.timer") == "active"
        assert run(server=0).code == 0
        assert run(server=0).changes == 0
