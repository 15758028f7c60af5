"""Export the schedule as a file for /etc/cron.d."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from jobs.schedule.export import UnsupportedSchedule
from jobs.schedule.export.clock_changes import clock_changes, utc_offsets
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.fields import portable_fields
from jobs.schedule.export.files import File, made_by, render
from jobs.schedule.slots import Timer

AN_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CronEntry:
    """A line of a crontab and the timer that it starts."""

    timer: Timer
    fields: str


def files(timers: Sequence[Timer], zone: ZoneInfo, destination: Destination, now: datetime) -> tuple[File, ...]:
    """Return one file with a line for each timer, for a machine in the destination's timezone."""
    entries = [CronEntry(timer, cron_fields(timer.line, zone, destination.timezone, now)) for timer in timers]
    environment = timers[0].environment
    name = f"groundcrew-{environment}"
    text = render(
        "cron.j2",
        made_by=made_by("cron", environment),
        name=name,
        entries=entries,
        zone=destination.timezone.key,
        destination=destination,
    )
    return (File(name, text),)


def cron_fields(line: str, zone: ZoneInfo, machine: ZoneInfo, now: datetime) -> str:
    """Return the line for a cron that always uses the machine's timezone."""
    fields = portable_fields(line)
    is_hourly = fields[1:] == ("*",) * 4
    if same_clock(zone, machine, now) or (is_hourly and _whole_hours_apart(zone, machine, now)):
        return " ".join(fields)
    raise UnsupportedSchedule(
        f'"{line}" is in timezone {zone.key}, but cron uses only the timezone of its machine, which is {machine.key}: '
        f"run timedatectl set-timezone {zone.key}, correct --timezone, or export to systemd"
    )


def same_clock(zone: ZoneInfo, other: ZoneInfo, now: datetime) -> bool:
    """Whether clocks in both zones show the same time in all coming years."""
    times = [now, *clock_changes(zone, now), *clock_changes(other, now)]
    return all(time.astimezone(zone).utcoffset() == time.astimezone(other).utcoffset() for time in times)


def _whole_hours_apart(zone: ZoneInfo, other: ZoneInfo, now: datetime) -> bool:
    return all(not offset % AN_HOUR for offset in (*utc_offsets(zone, now), *utc_offsets(other, now)))
