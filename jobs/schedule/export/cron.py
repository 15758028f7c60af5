"""The schedule as a file for /etc/cron.d."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from jobs.schedule.export import UnsupportedSchedule
from jobs.schedule.export.clock_changes import clock_changes, utc_offsets
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.fields import portable_fields
from jobs.schedule.export.files import File, render
from jobs.schedule.slots import Timer

AN_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class CronEntry:
    """A line of a crontab, and what it is for."""

    timer: Timer
    fields: str


def files(timers: Sequence[Timer], zone: ZoneInfo, place: Destination, now: datetime) -> tuple[File, ...]:
    """One file with every line, for a machine whose clock is in the place's timezone."""
    entries = [CronEntry(timer, cron_fields(timer.line, zone, place.timezone, now)) for timer in timers]
    name = f"groundcrew-{timers[0].environment}"
    return (File(name, render("cron.j2", name=name, entries=entries, zone=place.timezone.key, place=place)),)


def cron_fields(line: str, zone: ZoneInfo, machine: ZoneInfo, now: datetime) -> str:
    """The line for a cron that knows no timezone but the machine's."""
    told = portable_fields(line)
    if same_clock(zone, machine, now) or (told[1:] == ("*",) * 4 and _hours_apart(zone, machine, now)):
        return " ".join(told)
    raise UnsupportedSchedule(
        f'"{line}" is meant in {zone.key}, and cron knows only the timezone of its machine, which is {machine.key}: '
        f"set it with timedatectl set-timezone {zone.key}, name the right one with --timezone, or export to systemd"
    )


def same_clock(one: ZoneInfo, other: ZoneInfo, now: datetime) -> bool:
    """Whether clocks in both zones show the same, in all the coming years."""
    moments = [now, *clock_changes(one, now), *clock_changes(other, now)]
    return all(at.astimezone(one).utcoffset() == at.astimezone(other).utcoffset() for at in moments)


def _hours_apart(one: ZoneInfo, other: ZoneInfo, now: datetime) -> bool:
    return all(not offset % AN_HOUR for offset in (*utc_offsets(one, now), *utc_offsets(other, now)))
