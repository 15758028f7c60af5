"""The exported crontab, parsed back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from inventories import Environment
from jobs.run.ticks import next_ticks
from jobs.schedule.export import UnsupportedSchedule
from jobs.schedule.export.cron import cron_fields, files
from jobs.schedule.export.destination import Destination
from jobs.schedule.slots import slots, timers
from tests.parts.examples import share
from tests.unit.jobs.schedule.cron_lines import CRONSIM_ONLY, random_lines

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BERLIN, LONDON = ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/London")
DEBIAN_FIELD = re.compile(r"(\*(/\d+)?|\d+(-\d+(/\d+)?)?)(,(\*(/\d+)?|\d+(-\d+(/\d+)?)?))*")


@pytest.mark.parametrize("line", random_lines(share(200), seed=9))
def test_an_exported_line_has_the_same_ticks_and_is_valid_for_debians_cron(line: str) -> None:
    exported = cron_fields(line, BERLIN, BERLIN, NOW)
    assert list(islice(next_ticks(exported, BERLIN, NOW), 50)) == list(islice(next_ticks(line, BERLIN, NOW), 50))
    assert all(DEBIAN_FIELD.fullmatch(field) for field in exported.split())


@pytest.mark.parametrize("line", CRONSIM_ONLY)
def test_forms_that_cron_does_not_know_are_refused(line: str) -> None:
    with pytest.raises(UnsupportedSchedule, match="this scheduler does not support"):
        cron_fields(line, BERLIN, BERLIN, NOW)


@pytest.mark.parametrize(
    ("line", "zone", "machine"),
    [
        ("0 * * * *", BERLIN, ZoneInfo("UTC")),
        ("*/30 * * * *", BERLIN, ZoneInfo("America/New_York")),
        ("0 2 * * *", BERLIN, ZoneInfo("Europe/Paris")),
        ("0 2 * * *", ZoneInfo("Etc/UTC"), ZoneInfo("UTC")),
    ],
)
def test_another_timezone_is_accepted_if_the_ticks_are_the_same(line: str, zone: ZoneInfo, machine: ZoneInfo) -> None:
    assert cron_fields(line, zone, machine, NOW) == line
    assert list(islice(next_ticks(line, machine, NOW), 3000)) == list(islice(next_ticks(line, zone, NOW), 3000))


@pytest.mark.parametrize(
    ("line", "zone", "machine"),
    [
        ("0 2 * * *", BERLIN, ZoneInfo("UTC")),
        ("0 * * * *", BERLIN, ZoneInfo("Asia/Kolkata")),
        ("0 2 * * *", BERLIN, LONDON),
    ],
)
def test_another_timezone_is_refused_if_the_ticks_differ(line: str, zone: ZoneInfo, machine: ZoneInfo) -> None:
    with pytest.raises(
        UnsupportedSchedule, match=f"which is {machine.key}: run timedatectl set-timezone Europe/Berlin"
    ):
        cron_fields(line, zone, machine, NOW)


def test_the_file(production: Environment) -> None:
    destination = Destination(timezone=BERLIN)
    (file,) = files(timers("production", slots(production)), production.timezone, destination, NOW)
    lines = file.text.splitlines()
    assert file.name == "groundcrew-production"
    assert 'MAILTO=""' in lines
    assert "CREDENTIALS_DIRECTORY=/etc/groundcrew/credentials" in lines
    assert (
        "30 6 * * * groundcrew /usr/local/bin/crew run retention production --only main --only shop --scheduled"
        " 2>&1 | logger -t groundcrew-production-retention"
    ) in lines
    assert len([line for line in lines if line.startswith("@reboot groundcrew sleep 60; ")]) == 6
    assert file.text.endswith("\n")
    assert "%" not in file.text  # cron reads % as a line break
