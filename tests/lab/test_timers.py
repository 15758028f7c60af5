"""The exported units on a booted host: systemd starts and hardens them, and reports runs that are killed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from inventories import Repository
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.systemd import files
from jobs.schedule.slots import slots, timers

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
decrypt_with = { file = "/etc/groundcrew/age.key" }
sign_with = { file = "/etc/groundcrew/signing.key" }
[verify]
sign_with = { env = "VERIFY_KEY" }
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
keep = { daily = 2 }
backup = "0 2 * * *"
verify = "0 5 * * 0"
retention = "30 6 * * *"
[alerts]
to = [{ env = "ALERTS" }]
"""
CREW = """#!/bin/sh
secret=$(cat "$CREDENTIALS_DIRECTORY/ALERTS")
echo "crew $* as $(id -un), secret $secret, $MONITOR_UNIT $MONITOR_SERVICE_RESULT $MONITOR_EXIT_CODE"
for key in /etc/groundcrew/*.key $CREDENTIALS_DIRECTORY/*KEY /etc/groundcrew/credentials/*KEY; do
  cat "$key" >/dev/null 2>&1 && echo "crew $2 reads $(basename "$key")"
done
unshare --user --map-root-user --mount sh -c '
  echo "crew $1 unmounts"; umount /etc/groundcrew/signing.key; cat /etc/groundcrew/signing.key && echo "may undo hiding"
' sh "$2" 2>/dev/null
touch /etc/mine 2>/dev/null && echo "may write to /etc"
touch /var/lib/groundcrew/mine && echo "may write where its state is"
case "$*" in run\\ backup*) kill -9 $$ ;; esac
"""
SET_UP = """
useradd --system --create-home --home-dir /var/lib/groundcrew groundcrew
install -d -m 750 -g groundcrew /etc/groundcrew /etc/groundcrew/credentials
umask 077 && cd /etc/groundcrew && printf s3cret >credentials/ALERTS && printf verify >credentials/VERIFY_KEY
for key in age.key signing.key; do install -o groundcrew -m 600 /dev/null $key; done
cd /etc/systemd/system && systemctl daemon-reload && systemctl enable --quiet --now groundcrew-try-*.timer
"""


def install(lab: Lab, host: Host, units: dict[str, str]) -> None:
    """Install the units and a `crew` on a host, and set it up as the README says."""
    for path, text in units.items():
        mode = 755 if path.endswith("crew") else 644
        lab.ask(host, f"install -D -m {mode} /dev/stdin /{path} <<'END'\n{text}END\n")
    lab.ask(host, SET_UP)


def test_timers_are_scheduled_and_services_run_hardened_with_their_secrets(
    fresh: Callable[..., Lab], tmp_path: Path
) -> None:
    (tmp_path / "try.toml").write_text(FILE)
    environment = Repository.find(tmp_path).read("try")
    on_clock = timers("try", slots(environment))
    units = {
        f"etc/systemd/system/{file.name}": file.text
        for file in files(environment, on_clock, Destination(), {}, datetime.now(UTC))
    }
    lab = fresh(1)
    host = lab.hosts[0]
    install(lab, host, {**units, "usr/local/bin/crew": CREW})

    waiting = lab.ask(host, "systemctl list-timers --no-legend --no-pager 'groundcrew*'")
    assert waiting.count("groundcrew-try-") == 6
    lab.ask(
        host,
        "systemctl start groundcrew-try-retention.service groundcrew-try-verify.service; "
        "systemctl start groundcrew-try-backup.service || true",
    )
    died = "systemctl show groundcrew-try-died@groundcrew-try-backup.service -p ExecMainExitTimestamp"
    lab.ask(host, f"until {died} | grep -q UTC; do sleep 0.1; done")
    journal = lab.ask(host, "journalctl --sync; journalctl --no-pager --output cat --identifier crew")
    assert "crew run retention try --only shop --scheduled as groundcrew, secret s3cret" in journal
    assert set(re.findall(r"crew (\w+) reads (\S+)", journal)) == {
        ("backup", "signing.key"),
        ("verify", "age.key"),
        ("verify", "VERIFY_KEY"),
    }
    assert "may write where its state is" in journal
    assert "may write to /etc" not in journal
    assert "crew verify unmounts" in journal
    assert "crew backup unmounts" not in journal
    assert "may undo hiding" not in journal
    assert "crew schedule died try as groundcrew, secret s3cret, groundcrew-try-backup.service signal killed" in journal
