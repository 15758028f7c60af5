"""Export the schedule as systemd units: a timer and a service per line, a check service, and a failure handler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from inventories import Environment
from jobs.checks.secrets import secrets_in
from jobs.schedule.export import UnsupportedSchedule
from jobs.schedule.export.clock_changes import matches, skipped_ticks, utc_offsets
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.fields import ranges
from jobs.schedule.export.files import File, made_by, render
from jobs.schedule.export.needs import credential_names, hidden_files, run_timeout, secrets_of, writable_folders
from jobs.schedule.slots import Timer

WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
WEEK = frozenset(range(7))
WORKING_DAYS = frozenset(range(1, 6))
MONTH = frozenset(range(1, 32))
AN_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Days:
    """Days of a month, by date or counted from its end (systemd's `~`), limited to some weekdays."""

    weekdays: frozenset[int] = WEEK
    dates: frozenset[int] = MONTH
    from_end: str = ""

    def __and__(self, other: Days) -> Days:
        if self.from_end and other.from_end:
            raise UnsupportedSchedule("both days are counted from the end of the month")
        from_end, other_dates = (self.from_end, other.dates) if self.from_end else (other.from_end, self.dates)
        if from_end and other_dates != MONTH:
            raise UnsupportedSchedule(
                "one rule names dates and the other counts days from the end of the month, such as L"
            )
        return Days(self.weekdays & other.weekdays, self.dates & other.dates, from_end)

    def calendar(self, months: set[int]) -> str:
        """Return the days in systemd's syntax, without the time."""
        names = ",".join(WEEKDAYS[day] for day in sorted(self.weekdays))
        month = "*" if len(months) == 12 else ranges(months, "..", 2)
        date = self.from_end or ("-*" if self.dates == MONTH else f"-{ranges(self.dates, '..', 2)}")
        return f"{'' if self.weekdays == WEEK else names + ' '}*-{month}{date}"


def files(
    environment: Environment,
    timers: Sequence[Timer],
    destination: Destination,
    others: Mapping[str, Environment],
    now: datetime,
) -> tuple[File, ...]:
    """Return a service and a timer for each line, the check service, and the handler for failed runs."""
    name, mark = environment.name, made_by("systemd", environment.name)
    units = [file for timer in timers for file in _units(environment, timer, destination, others, now)]
    all_credentials = credential_names(tuple(secret for _, secret in secrets_in(environment)))
    alert_credentials = credential_names(environment.alerts.to)
    check = render(
        "systemd.check.j2",
        made_by=mark, environment=name, destination=destination, credentials=all_credentials,
        folders=writable_folders(environment), hidden=(), isolates=False,
    )  # fmt: skip
    died = render(
        "systemd.died.j2",
        made_by=mark, environment=name, destination=destination, credentials=alert_credentials, folders=(),
        hidden=hidden_files(environment, environment.alerts.to, others), isolates=False,
    )  # fmt: skip
    return (
        *units,
        File(f"groundcrew-{name}-check.service", check),
        File(f"groundcrew-{name}-died@.service", died),
    )


def _units(
    environment: Environment,
    timer: Timer,
    destination: Destination,
    others: Mapping[str, Environment],
    now: datetime,
) -> Iterator[File]:
    mark = made_by("systemd", environment.name)
    secrets = secrets_of(environment, timer, others)
    seconds = int(run_timeout(environment, timer).total_seconds())
    service = render(
        "systemd.service.j2",
        made_by=mark, timer=timer, destination=destination, credentials=credential_names(secrets), seconds=seconds,
        folders=writable_folders(environment), hidden=hidden_files(environment, secrets, others),
        isolates=timer.job == "verify",
    )  # fmt: skip
    yield File(f"{timer.unit}.service", service)
    calendar = on_calendar(timer.line, environment.timezone, now)
    yield File(f"{timer.unit}.timer", render("systemd.timer.j2", made_by=mark, timer=timer, calendar=calendar))


def on_calendar(line: str, zone: ZoneInfo, start: datetime) -> tuple[str, ...]:
    """Return OnCalendar= expressions that together elapse at exactly the line's ticks."""
    fields = CronSim(line, start.astimezone(UTC))
    time = f"{_all_or(fields.hours, 24)}:{_all_or(fields.minutes, 60)}:00"
    if _is_same_in_all_zones(line, fields) and all(not offset % AN_HOUR for offset in utc_offsets(zone, start)):
        return (f"*-*-* {time} UTC",)
    try:
        days = [each.calendar(fields.months) for each in _days(fields)]
    except UnsupportedSchedule as reason:
        raise UnsupportedSchedule(
            f'"{line}": systemd cannot combine its days, because {reason}; '
            "write two schedules, or use crew schedule run"
        ) from None
    skipped = skipped_ticks(line, zone, start, lambda fields, local: matches(fields, local) and local.fold == 0)
    return (*(f"{each} {time} {zone.key}" for each in days), *_by_date(skipped))


def _is_same_in_all_zones(line: str, fields: CronSim) -> bool:
    """Whether the line selects only minutes, so that it has the same ticks in zones that are whole hours apart."""
    minute, hour = line.split()[:2]
    every_hour = len(fields.hours) == 24 and (minute.startswith("*") or hour.startswith("*"))
    return (
        every_hour
        and fields.days == MONTH
        and len(fields.months) == 12
        and {day % 7 for day in _plain_weekdays(fields)} == WEEK
    )


def _plain_weekdays(fields: CronSim) -> set[int]:
    return {day for day in fields.weekdays if isinstance(day, int)}


def _days(fields: CronSim) -> list[Days]:
    """Return the matching days: those of both day fields if one begins with a star, else those of either."""
    dates, weekdays = list(_dates(fields)), list(_weekdays(fields))
    if not fields.day_and:
        return [*dates, *weekdays]
    both = [date & weekday for date in dates for weekday in weekdays]
    return [each for each in both if each.dates and each.weekdays]


def _dates(fields: CronSim) -> Iterator[Days]:
    dates = frozenset(day for day in fields.days if day > 0)
    if dates:
        yield Days(dates=dates)
    if CronSim.LAST in fields.days:
        yield Days(from_end="~01")
    if CronSim.LAST_WEEKDAY in fields.days:  # if the last day is on a weekend, it is the Friday before
        yield Days(WORKING_DAYS, from_end="~01")
        yield Days(frozenset({5}), from_end="~02,03")


def _weekdays(fields: CronSim) -> Iterator[Days]:
    plain = frozenset(day % 7 for day in _plain_weekdays(fields))
    if plain:
        yield Days(plain)
    for special in fields.weekdays:
        if isinstance(special, tuple):
            day, nth = frozenset({special[0] % 7}), special[1]
            if nth == CronSim.LAST:
                yield Days(day, from_end="~07/1")
            else:
                yield Days(day, frozenset(range(7 * nth - 6, min(7 * nth, 31) + 1)))


def _all_or(numbers: set[int], count: int) -> str:
    return "*" if len(numbers) == count else ranges(numbers, "..", 2)


def _by_date(skipped: list[datetime]) -> Iterator[str]:
    """Return expressions for the ticks that systemd skips, merged over all years by month, weekday and time."""
    groups: dict[tuple[int, int, int, int], set[int]] = {}
    for tick in skipped:
        groups.setdefault((tick.month, tick.isoweekday() % 7, tick.hour, tick.minute), set()).add(tick.day)
    for (month, weekday, hour, minute), dates in sorted(groups.items()):
        days = Days(frozenset({weekday}), frozenset(range(min(dates), max(dates) + 1)))
        yield f"{days.calendar({month})} {hour:02}:{minute:02}:00 UTC"
