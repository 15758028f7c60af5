"""The exported timers elapse exactly at the ticks, according to systemd-analyze."""

from __future__ import annotations

import random
import re
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from inventories import Environment, Repository
from jobs.run.ticks import next_ticks
from jobs.schedule.export import UnsupportedSchedule
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.systemd import files, on_calendar
from jobs.schedule.slots import slots, timers
from tests.parts.examples import share
from tests.parts.needs import needs
from tests.unit.jobs.schedule.cron_lines import CRONSIM_ONLY, random_lines

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
ZONES = (BERLIN, NEW_YORK, ZoneInfo("UTC"), ZoneInfo("Asia/Kolkata"))
BEFORE_CHANGES = (
    NOW,
    datetime(2027, 3, 13, 20, tzinfo=UTC),
    datetime(2027, 3, 27, 20, tzinfo=UTC),
    datetime(2027, 10, 30, 20, tzinfo=UTC),
    datetime(2027, 11, 6, 20, tzinfo=UTC),
)
ELAPSES = re.compile(
    r"(?:Next elapse|\(in UTC\)|Iteration #\d+|Iter\. #\d+): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC"
)
LINES = [*random_lines(share(200), seed=4), *CRONSIM_ONLY]
CASES = [
    (line, random.Random(line).choice(ZONES), random.Random(line + "start").choice(BEFORE_CHANGES)) for line in LINES
]


def elapses(each_timer: list[tuple[str, ...]], start: datetime, count: int) -> list[list[datetime]]:
    """Return when each timer with these OnCalendar= lines elapses next."""
    argv = ["systemd-analyze", "calendar", f"--base-time={start:%Y-%m-%d %H:%M:%S} UTC", f"--iterations={count}"]
    expressions = [expression for timer in each_timer for expression in timer]
    result = subprocess.run([*argv, *expressions], capture_output=True, text=True, check=True, env={"TZ": "UTC"})
    blocks = result.stdout.split("Normalized form:")[1:]
    assert len(blocks) == len(expressions)
    remaining = iter(blocks)
    texts = ["".join(islice(remaining, len(timer))) for timer in each_timer]
    return [
        sorted({datetime.fromisoformat(f"{moment}+00:00") for moment in ELAPSES.findall(text)})[:count]
        for text in texts
    ]


@needs("systemd-analyze")
@pytest.mark.parametrize("start", BEFORE_CHANGES, ids=[f"{start:%m%d}" for start in BEFORE_CHANGES])
def test_the_next_fifty_runs_are_the_next_fifty_ticks(start: datetime) -> None:
    cases = [(line, zone) for line, zone, begins in CASES if begins == start]
    found = elapses([on_calendar(line, zone, NOW) for line, zone in cases], start, 50)
    for (line, zone), times in zip(cases, found, strict=True):
        assert times == list(islice(next_ticks(line, zone, start), 50)), (line, zone)


@pytest.mark.parametrize(
    ("line", "zone", "expressions"),
    [
        ("0 2 * * *", BERLIN, ("*-*-* 02:00:00 Europe/Berlin", "Sun *-03-25..31 01:00:00 UTC")),
        ("0 */6 * * *", BERLIN, ("*-*-* 00,06,12,18:00:00 Europe/Berlin",)),
        ("*/30 * * * *", BERLIN, ("*-*-* *:00,30:00 UTC",)),
        ("0 9 * * 1", BERLIN, ("Mon *-*-* 09:00:00 Europe/Berlin",)),
        ("30 2 * * *", NEW_YORK, ("*-*-* 02:30:00 America/New_York", "Sun *-03-08..14 07:00:00 UTC")),
        ("0 0 1,15 * FRI", NEW_YORK, ("*-*-01,15 00:00:00 America/New_York", "Fri *-*-* 00:00:00 America/New_York")),
    ],
)
def test_the_calendar_expressions_of_a_line(line: str, zone: ZoneInfo, expressions: tuple[str, ...]) -> None:
    assert on_calendar(line, zone, NOW) == expressions


def test_days_that_systemd_cannot_combine_are_refused() -> None:
    with pytest.raises(UnsupportedSchedule, match=r'"0 2 \*/2 \* 5L": systemd cannot combine its days'):
        on_calendar("0 2 */2 * 5L", BERLIN, NOW)


@needs("systemd-analyze")
def test_a_leap_day_is_the_same_day() -> None:
    line = "0 2 29 2 *"
    [times] = elapses([on_calendar(line, BERLIN, NOW)], NOW, 2)
    assert times == [datetime(2028, 2, 29, 1, tzinfo=UTC), datetime(2032, 2, 29, 1, tzinfo=UTC)]
    assert NOW + timedelta(days=400) < times[0]


def units(environment: Environment, sources: dict[str, Environment], folder: Path) -> dict[str, str]:
    """Write the units to a directory, with a `crew` that exists, and return them."""
    crew = folder / "crew"
    crew.write_text("#!/bin/sh\n")
    crew.chmod(0o755)
    made = files(environment, timers(environment.name, slots(environment)), Destination(crew=str(crew)), sources, NOW)
    for file in made:
        (folder / file.name).write_text(file.text)
    return {file.name: file.text for file in made}


@needs("systemd-analyze")
@pytest.mark.parametrize("name", ["production", "staging"])
def test_the_units_are_valid(repository: Repository, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "units"
    folder.mkdir()
    texts = units(repository.read(name), {"production": repository.read("production")}, folder)
    paths = [str(folder / each) for each in texts]
    checked = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert checked.stderr == ""
    assert checked.returncode == 0


def test_a_service_is_hardened_and_gets_its_secrets_as_files(production: Environment, tmp_path: Path) -> None:
    texts = units(production, {}, tmp_path)
    service = texts["groundcrew-production-backup-main.service"].splitlines()
    assert [line for line in service if line.startswith("LoadCredential")] == [
        f"LoadCredential={name}:/etc/groundcrew/credentials/{name}"
        for name in ("SLACK_ALERTS_URL", "HEARTBEAT_BACKUP_URL", "MAIN_DB_PASSWORD")
    ]
    for line in (
        "NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "User=groundcrew", "TimeoutStartSec=87300",
        "OnFailure=groundcrew-production-died@%N.service", "ReadWritePaths=-/var/lib/prometheus/node-exporter",
    ):  # fmt: skip
        assert line in service
    timer = texts["groundcrew-production-backup-shop.timer"].splitlines()
    assert "Persistent=true" in timer
    assert [line for line in timer if line.startswith("OnCalendar")] == [
        "OnCalendar=*-*-* 02:00:00 Europe/Berlin", "OnCalendar=Sun *-03-25..31 01:00:00 UTC"
    ]  # fmt: skip


HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
CapabilityBoundingSet=
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
UMask=0077
""".splitlines()


def test_only_the_verification_has_weaker_hardening_and_only_for_its_sandbox(
    production: Environment, tmp_path: Path
) -> None:
    services = {name: text.splitlines() for name, text in units(production, {}, tmp_path).items() if "service" in name}
    assert len(services) > 5
    for name, lines in services.items():
        weaker = sorted(set(HARDENING) - set(lines))
        denied = ["RestrictNamespaces=yes", "RestrictSUIDSGID=yes", "SystemCallFilter=@system-service"]
        assert weaker == (denied if "verify" in name else [])
    assert {"RestrictNamespaces=ipc mnt net pid user uts", "SystemCallFilter=@system-service @mount"} <= set(
        services["groundcrew-production-verify.service"]
    )


def test_the_check_service_gets_every_secret_of_the_file(production: Environment, tmp_path: Path) -> None:
    check = units(production, {}, tmp_path)["groundcrew-production-check.service"]
    assert "/crew check production\n" in check
    named = set(re.findall(r"\{ env = \"(\w+)\" \}", production.file.read_text()))
    assert named == set(re.findall(r"^LoadCredential=(\w+):", check, re.MULTILINE))


def test_runs_can_write_to_a_store_in_a_directory(repository: Repository, tmp_path: Path) -> None:
    texts = units(repository.read("staging"), {"production": repository.read("production")}, tmp_path)
    assert "ReadWritePaths=-/var/lib/groundcrew/store" in texts["groundcrew-staging-refresh.service"]
    assert "LoadCredential=STAGING_DB_PASSWORD:" in texts["groundcrew-staging-refresh.service"]


@needs("systemd-analyze")
def test_the_daemons_unit_in_the_docs_is_valid(tmp_path: Path) -> None:
    page = Path(__file__).parents[5] / "docs" / "schedule.md"
    unit = page.read_text().partition("```ini\n")[2].partition("```")[0]
    (tmp_path / "crew.service").write_text(unit.replace("/usr/local/bin/crew", "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "crew.service")], capture_output=True, text=True, check=False
    )
    assert checked.stderr == ""
    assert checked.returncode == 0
