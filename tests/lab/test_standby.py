"""A primary and its standby on two booted hosts: made from the repository, promoted, fenced, and joined again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from deploys.lib.postgres import standby
from deploys.lib.postgres.replication import PASSFILE
from tests.lab import pitr
from tests.lab.lab import Lab, power_cycle
from tests.lab.network import must
from tests.lab.pyinfra import PyinfraRun
from tests.parts.patience import until
from tests.parts.s3 import Bucket

PSQL = "cd / && runuser -u postgres -- psql -AtX"
METRICS = (
    "systemctl start groundcrew-replication-metrics; cat /var/lib/prometheus/node-exporter/groundcrew-replication.prom"
)
INFO = "cd / && runuser -u postgres -- pgbackrest info"
MAJORS = {12: 15, 13: 17}  # Debian's own version of PostgreSQL
TICK = 'cd /; while runuser -u postgres -- psql -qX shop -c "INSERT INTO ticks DEFAULT VALUES"; do sleep 0.2; done'


def make_standby(lab: Lab, run: Callable[..., PyinfraRun]) -> None:
    """Make the standby, and check its secrets and the metrics of both servers."""
    one, two = lab.hosts
    with lab.process_list(two) as processes:
        first = run("-vvv", "--diff", standby=1)
    assert first.code == 0, first.text
    assert "made from the newest backup in the repository" in first.text
    assert [line for line in [first.text, *processes] if "own word" in line] == []
    assert lab.ask(two, f"stat -c '%a %U' {PASSFILE}") == "600 postgres"
    again = run(standby=1)
    assert (again.code, again.changes) == (0, 0), again.text
    for host, expected in (
        (one, ['standby_streaming{standby="lab-2"} 1', 'standby_wal_lost{standby="lab-2"} 0', "fenced 0"]),
        (two, ["lag_seconds 0", "fenced 0"]),
    ):
        metrics = lab.ask(host, METRICS)
        assert [each for each in expected if each not in metrics] == [], metrics


def promote_while_cut_off(lab: Lab, promote: Callable[..., PyinfraRun]) -> int:
    """Promote the standby while its primary goes on without network; return how many rows the standby had."""
    one, two = lab.hosts
    lab.ask(one, f"systemd-run --quiet --unit=ticks sh -c '{TICK}'")
    until(lambda: int(lab.ask(two, f"{PSQL} shop -c 'SELECT count(*) FROM ticks'")) > 3)
    assert "nothing would be lost: lab-1 is stopped first" in promote(standby=1).text
    must("ip", "link", "set", f"vb-{one.machine}", "down")
    refused = promote("--limit", "lab-2", "--data", "promote=lab-2", standby=1)
    assert refused.code == 1, refused.text
    assert "lab-1 can't be reached, so it can't be stopped; power it off" in refused.text
    chosen = ("--limit", "lab-2", "--data", "promote=lab-2", "--data", "lose=yes")
    promoted = promote(*chosen, standby=1)
    assert promoted.code == 0, promoted.text
    assert "it is the primary now, on timeline 2" in promoted.text
    assert promote(*chosen, standby=1).changes == 0
    had = int(lab.ask(two, f"{PSQL} shop -c 'SELECT count(*) FROM ticks'"))
    must("ip", "link", "set", f"vb-{one.machine}", "up")
    until(lambda: lab.ssh(one, "true").returncode == 0)
    return had


def unit_of(lab: Lab) -> str:
    return f"postgresql@{MAJORS[lab.debian]}-main"


def try_to_start_the_old_primary(lab: Lab) -> None:
    """Start the old primary, in a release by a power cut and a boot of its host; it must refuse."""
    [one, _], unit = lab.hosts, unit_of(lab)
    if lab.debian == 13:
        power_cycle(lab, one)
    else:
        lab.ask(one, f"! systemctl restart {unit}")
    lab.ask(one, f"! systemctl start {unit} && test -e /var/lib/postgresql/{MAJORS[lab.debian]}/main/standby.signal")
    assert "lab-2 was promoted in place of this server" in lab.ask(one, f"journalctl --sync; journalctl -u {unit}")


def switch_back(lab: Lab, swapped: Callable[..., PyinfraRun], had: int, **data: Any) -> str:
    """Switch back to the first server, with a run that is killed and another one; return how many rows it has."""
    one, two = lab.hosts
    lab.ask(two, f"systemd-run --quiet --unit=ticks sh -c '{TICK}'")
    until(lambda: int(lab.ask(one, f"{PSQL} shop -c 'SELECT count(*) FROM ticks'")) > had + 3)
    killed = pitr.begun(lab, "--data", "promote=lab-1", server=1, standby=0, of="postgres_promote", **data)
    until(lambda: lab.ssh(two, f"test -e {standby.FENCED}").returncode == 0, 60)
    killed.kill()
    killed.communicate()
    back = swapped("--data", "promote=lab-1", of="postgres_promote")
    assert back.code == 0, back.text
    lab.ask(two, f"until ! systemctl is-active --quiet {unit_of(lab)}; do sleep 0.2; done")
    return lab.ask(one, f"{PSQL} shop -c 'SELECT count(*) FROM ticks'")


@pytest.mark.long
@pytest.mark.parametrize("debian", [12, pytest.param(13, marks=pytest.mark.release)])
def test_a_standby_is_promoted_and_the_old_primary_joins_again(
    fresh: Callable[..., Lab], seaweed: Bucket, debian: int
) -> None:
    lab = fresh(2, debian)
    one, two = lab.hosts
    with pitr.behind_tls(lab, seaweed) as endpoint:
        repositories = [pitr.repository(seaweed, endpoint, "shop")]
        data: dict[str, Any] = {
            "bucket": seaweed,
            "postgres_pitr": {"stanza": "main", "full": "0 3 * * 0", "repositories": repositories},
            "postgres_replication": {"password": {"env": "REPLICATION"}},
        }
        run = partial(pitr.run, lab, server=0, **data)  # the inventory before the promotion, and after it
        swapped = partial(pitr.run, lab, server=1, standby=0, **data)
        promote = partial(run, of="postgres_promote")

        # The primary comes first, so that its first backup is there when the standby is made.
        assert run("--limit", "lab-1", standby=1).code == 0
        until(lambda: "full backup: " in lab.ask(one, INFO), 90, saw=lambda: lab.ask(one, INFO))
        lab.ask(one, f"{PSQL} shop -c 'CREATE TABLE ticks (at timestamptz DEFAULT clock_timestamp())'")
        make_standby(lab, run)

        # The network between them breaks, and the primary goes on. So both write after the promotion.
        had = promote_while_cut_off(lab, promote)

        # It must not come back as a primary.
        written = int(lab.ask(one, f"systemctl stop ticks; {PSQL} shop -c 'SELECT count(*) FROM ticks'"))
        try_to_start_the_old_primary(lab)
        assert "lab-1 is fenced, because lab-2 was promoted in its place" in run(standby=1).text
        assert swapped().code == 0
        assert "fenced 1" in lab.ask(one, METRICS)

        # What only it had is saved before it follows the new primary.
        joined = swapped("--data", "rejoin=lab-1", of="postgres_promote")
        assert joined.code == 0, joined.text
        assert f"shop: public.ticks: {written - had} inserted; {written - had} rows" in joined.text
        assert "It was rewound to the split." in joined.text
        saved = lab.ask(one, f"cat {standby.FOLDER}/split-*/rows-1.csv").splitlines()
        assert (saved[0], len(saved)) == ("at", written - had + 1)
        assert lab.ask(one, f"{PSQL} shop -c 'SELECT count(*) FROM ticks'") == str(had)
        again = swapped()
        assert (again.code, again.changes) == (0, 0), again.text
        newest = partial(lab.ask, two, f"{INFO} --output=json")
        until(lambda: '"max":"00000002' in newest(), saw=newest)

        # A planned switch back loses nothing. A run that was killed after it stopped the old primary is finished.
        total = switch_back(lab, swapped, had, **data)
        joined = run("--data", "rejoin=lab-2", of="postgres_promote", standby=1)
        assert joined.code == 0, joined.text
        assert "no transaction was committed here" in joined.text
        assert lab.ask(two, f"{PSQL} shop -c 'SELECT count(*) FROM ticks'") == total
        assert run(standby=1).code == 0
        assert run(standby=1).changes == 0
