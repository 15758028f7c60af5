"""Point-in-time recovery on booted hosts, with real pgBackRest and a real S3 server (SeaweedFS)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.lab import pitr
from tests.lab.lab import Lab
from tests.parts.s3 import Bucket

METRICS = "systemctl start groundcrew-pitr-metrics; cat /var/lib/prometheus/node-exporter/groundcrew-pitr.prom"
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

        wrong = run(postgres_pitr={**settings, "repositories": [first, second]}, secret="wrong")
        assert wrong.code == 1, wrong.text
        assert "the repositories were not accepted, and the configuration stays as it was" in wrong.text
        both = run(postgres_pitr={**settings, "incr": "0 9 * * *", "repositories": [first, second]})
        assert both.code == 0, both.text
        lab.ask(host, "systemctl start groundcrew-pitr-backup@incr")  # pgBackRest makes a full backup if there is none
        metrics = lab.ask(host, METRICS)
        for expected in (
            'repository_ok{repository="2"} 1',
            'backup_failed{repository="1"} 0',
            'type="full"} 1',
            "archive_lag_seconds 0",
        ):
            assert expected in metrics, metrics
        timers = "systemctl list-timers --all --no-legend 'groundcrew-pitr-*' | grep -o 'pitr-[a-z]*.timer' | sort"
        assert lab.ask(host, timers).split() == [f"pitr-{name}.timer" for name in ("diff", "full", "incr", "metrics")]

    # The repositories are gone. The server goes on, and WAL waits.
    lab.ask(host, f"{PSQL} -c 'CREATE TABLE waits ()' -c 'SELECT pg_switch_wal()'")
    broken = run(postgres_pitr={**settings, "repositories": [first, second]})
    assert broken.code == 1, broken.text
    assert "WAL does not reach the repositories:" in broken.text or "were not accepted" in broken.text
    assert 'repository_ok{repository="1"} 0' in lab.ask(host, METRICS)
    removed = run()
    assert removed.code == 0, removed.text
    assert lab.ask(host, "ls /etc/systemd/system/groundcrew-pitr-* /etc/pgbackrest/pgbackrest.conf; true") == ""
    assert lab.ask(host, f"{PSQL} -c 'SHOW archive_mode'") == "off"
    assert run().changes == 0
