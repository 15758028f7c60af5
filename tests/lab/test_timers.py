"""The exported units on a real host: started by its systemd, hardened by it, and told of when they die."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from inventories import Repository
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.systemd import files
from jobs.schedule.slots import scheduled, timers

if TYPE_CHECKING:
    from tests.lab.hosts import Host
    from tests.lab.lab import Lab

FILE = """
[environment]
name = "try"
timezone = "Europe/Berlin"
[store]
url = "file:///var/lib/groundcrew/store"
encrypt_to = "nobody"
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
keep = { daily = 2 }
backup = "0 2 * * *"
retention = "30 6 * * *"
[alerts]
to = [{ env = "ALERTS" }]
"""
CREW = """#!/bin/sh
secret=$(cat "$CREDENTIALS_DIRECTORY/ALERTS")
echo "crew $* as $(id -un), secret $secret, $MONITOR_UNIT $MONITOR_SERVICE_RESULT $MONITOR_EXIT_CODE"
touch /etc/mine 2>/dev/null && echo "may write to /etc"
touch /var/lib/groundcrew/mine && echo "may write where its state is"
case "$*" in run\\ backup*) kill -9 $$ ;; esac
"""
SET_UP = """
useradd --system --create-home --home-dir /var/lib/groundcrew groundcrew
install -d -m 750 -g groundcrew /etc/groundcrew /etc/groundcrew/credentials
umask 077 && printf s3cret >/etc/groundcrew/credentials/ALERTS
cd /etc/systemd/system && systemctl daemon-reload && systemctl enable --quiet --now groundcrew-try-*.timer
"""


def install(there: Lab, host: Host, units: dict[str, str]) -> None:
    """Put the units and their `crew` onto a host, and set it up as the README says."""
    for path, text in units.items():
        mode = 755 if path.endswith("crew") else 644
        there.ask(host, f"install -D -m {mode} /dev/stdin /{path} <<'END'\n{text}END\n")
    there.ask(host, SET_UP)


def test_timers_wait_for_their_ticks_and_services_run_as_they_should(fresh: Callable[..., Lab], tmp_path: Path) -> None:
    (tmp_path / "try.toml").write_text(FILE)
    environment = Repository.find(tmp_path).read("try")
    on_clock = timers("try", scheduled(environment))
    units = {
        f"etc/systemd/system/{file.name}": file.text
        for file in files(environment, on_clock, Destination(), {}, datetime.now(UTC))
    }
    there = fresh(1)
    host = there.hosts[0]
    install(there, host, {**units, "usr/local/bin/crew": CREW})

    waiting = there.ask(host, "systemctl list-timers --no-legend --no-pager 'groundcrew*'")
    assert waiting.count("groundcrew-try-") == 4
    there.ask(
        host, "systemctl start groundcrew-try-retention.service; systemctl start groundcrew-try-backup.service || true"
    )
    died = "systemctl show groundcrew-try-died@groundcrew-try-backup.service -p ExecMainExitTimestamp"
    there.ask(host, f"until {died} | grep -q UTC; do sleep 0.1; done")
    told = there.ask(host, "journalctl --no-pager --output cat --identifier crew")
    assert "crew run retention try --only shop --scheduled as groundcrew, secret s3cret" in told
    assert "may write where its state is" in told
    assert "may write to /etc" not in told
    assert "crew schedule died try as groundcrew, secret s3cret, groundcrew-try-backup.service signal killed" in told
