"""The schedule as a file for /etc/cron.d."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from jobs.schedule.export import Inexpressible
from jobs.schedule.export.clock_changes import changes, offsets
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.fields import plain
from jobs.schedule.export.files import File, render
from jobs.schedule.slots import Timer

AN_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a crontab, and what it is for."""

    timer: Timer
    fields: str


def files(timers: Sequence[Timer], zone: ZoneInfo, place: Destination, now: datetime) -> tuple[File, ...]:
    """One file with every line, for a machine whose clock is in the place's timezone."""
    entries = [Entry(timer, fields(timer.line, zone, place.timezone, now)) for timer in timers]
    name = f"groundcrew-{timers[0].environment}"
    return (File(name, render("cron.j2", name=name, entries=entries, zone=place.timezone.key, place=place)),)


def fields(line: str, zone: ZoneInfo, machine: ZoneInfo, now: datetime) -> str:
    """The line for a cron that knows no timezone but the machine's."""
    told = plain(line)
    if alike(zone, machine, now) or (told[1:] == ("*",) * 4 and _hours_apart(zone, machine, now)):
        return " ".join(told)
    raise Inexpressible(
        f'"{line}" is meant in {zone.key}, and cron knows only the timezone of its machine, which is {machine.key}: '
        f"set it with timedatectl set-timezone {zone.key}, name the right one with --timezone, or export to systemd"
    )


def alike(one: ZoneInfo, other: ZoneInfo, now: datetime) -> bool:
    """Whether clocks in both zones show the same, in all the coming years."""
    moments = [now, *changes(one, now), *changes(other, now)]
    return all(at.astimezone(one).utcoffset() == at.astimezone(other).utcoffset() for at in moments)


def _hours_apart(one: ZoneInfo, other: ZoneInfo, now: datetime) -> bool:
    return all(not offset % AN_HOUR for offset in (*offsets(one, now), *offsets(other, now)))
