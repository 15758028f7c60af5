"""`crew runs`: list runs, or show one run with its log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, WrongUsage, complete_job, examples, new_app
from jobs.cli.run import STYLES, record_as_json
from jobs.format import format_duration, format_time
from jobs.run.documents import to_second
from jobs.run.job import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inventories import Environment
    from jobs.run.lease import Holder
    from jobs.run.record import Record, RecordKey
    from jobs.store import Store

app = new_app()

SEARCHED = timedelta(days=30)
_READERS = 8

OptionalJob = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB",
        help="Job, such as backup, or a command: restore, undelete, pin, unpin, apply, rollback, destroy, unlock, "
        "terraform (default: all).",
        autocompletion=complete_job,
    ),
]
OptionalSubject = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="Database, stack or other subject of the job (default: all).",
        autocompletion=arguments.complete_subject,
    ),
]


@app.command(
    "runs",
    epilog=examples(
        "crew runs production",
        "crew runs production backup shop --last",
        "crew runs production --failed --since 7d",
        "crew runs production restore",
        "crew runs production --run 4f1c2a",
    ),
)
def runs_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    job: OptionalJob = None,
    name: OptionalSubject = None,
    failed: Annotated[bool, typer.Option("--failed", help="List only runs that failed or died.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="List runs since then: 7d, 2026-11-20, 02:00, or 2026-11-20T02:00+01:00 (default with a job, a name "
            "or --failed: 30d).",
        ),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Show the newest run with its log.")] = False,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Show this run with its log: its ID, or the end of its ID.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Number of runs to list.")] = 20,
    as_json: AsJson = False,
) -> int:
    """List runs, or show one run with its log.

    Lists running jobs first, then ended runs, newest first: runs of jobs, and of commands that change data, such as a
    restore or an apply. A run that was killed is listed as died.
    """
    from jobs.run.holders import read_holders

    environment, now = arguments.open_environment(ctx, environment_name), datetime.now(UTC)
    _require_job(job)
    begin = parse_since(since, environment, now)
    store = arguments.environment_store(environment)
    locks = read_holders(store, environment.name)
    listing = RunListing(store, environment.name, job, name, failed, now, locks)
    if run or last:
        record = listing.find(run) if run else listing.newest()
        return _show_run(record, environment, run, as_json=as_json)
    begin = begin or (now - SEARCHED if job or failed else None)
    ended = listing.ended(begin, limit)
    # A run that has its record but still holds its lock has ended.
    running = [lock for lock in listing.running() if lock[1].run not in {record.run for record in ended}]
    if as_json:
        output.print_json(
            {
                "environment": environment.name,
                "running": [running_as_json(*lock) for lock in running],
                "runs": [record_as_json(record) for record in ended],
            }
        )
        return 0
    if running or ended:
        print_runs(running, ended, now, environment.timezone)
    if begin and len(ended) < limit:
        what = " ".join(filter(None, ("failed" if failed else "", "runs", f"of {job}" if job else "", name)))
        more = "no earlier" if ended else "no"
        since_then = format_time(begin, now, environment.timezone)
        output.say(f"{environment.name}: {more} {what} since {since_then}; further back: --since 400d", output.QUIET)
    elif not running and not ended:
        output.say(f"{environment.name}: no runs yet", output.QUIET)
    return 0


def _require_job(job: str | None) -> None:
    """Raise WrongUsage for a job that does not exist, and name the nearest."""
    from difflib import get_close_matches

    from jobs.registry import JOBS
    from jobs.run.by_hand import RECORDED_COMMANDS

    known = [*JOBS, *RECORDED_COMMANDS]
    if job is None or job in known:
        return
    near = "".join(f"did you mean {name}? " for name in get_close_matches(job, known, 1))
    raise WrongUsage(f"there is no job {job!r}; {near}Runs are of: {', '.join(known)}")


def parse_since(since: str | None, environment: Environment, now: datetime) -> datetime | None:
    """Return a time for `7d`, a date, a clock time or an ISO time."""
    from inventories.reading import InvalidValue
    from inventories.value_types import DURATION
    from jobs.backup import parse_time

    if since is None:
        return None
    try:
        return now - DURATION.parse(since)
    except InvalidValue:
        return parse_time(since, environment.timezone, now, "--since")


@dataclass(frozen=True, slots=True)
class RunListing:
    """The runs of an environment that the arguments of `crew runs` select."""

    store: Store
    environment: str
    job: str | None
    subject: str | None
    failed: bool
    now: datetime
    locks: Mapping[str, Holder]

    def running(self) -> list[tuple[str, Holder]]:
        """Return the locks that a live run holds."""
        return [] if self.failed else [(name, lock) for name, lock in self._held() if not lock.expired(self.now)]

    def ended(self, since: datetime | None, limit: int) -> list[Record]:
        """Return the newest records, and those of runs that died and whose lock no other run has taken over."""
        from concurrent.futures import ThreadPoolExecutor

        from jobs.run.by_hand import read_record_now

        keys = list(islice(self._keys(since), limit))
        with ThreadPoolExecutor(_READERS) as pool:
            read = list(pool.map(lambda key: read_record_now(self.store, key, self.now), keys))
        found = {record.run: record for record in read if record}
        died = {record.run: record for record in self._died() if since is None or record.started >= since}
        return sorted((died | found).values(), key=lambda record: record.run, reverse=True)[:limit]

    def newest(self) -> Record | None:
        """Return the newest record. A subject's lock names it, however long ago that was."""
        from jobs.run.record import find_record

        lock = self.locks.get(f"{self.job}/{self.subject}")
        if lock and lock.released and lock.runs.last and not self.failed:
            return find_record(self.store, self.environment, lock.runs.last.run)
        return next(iter(self.ended(None, 1)), None)

    def find(self, run: str) -> Record | None:
        """Return the newest run with this ID, or whose ID ends with it."""
        from jobs.run.by_hand import read_record_now

        begin = _time_of_run(run)
        keys = (key for key in self._keys(begin) if key.run == run or (not begin and key.run.endswith(run)))
        key = next(keys, None)
        if key is None:
            return next((record for record in self._died() if record.run.endswith(run)), None)
        return read_record_now(self.store, key, self.now)

    def _keys(self, since: datetime | None) -> Iterator[RecordKey]:
        from jobs.run.by_hand import outcome_now
        from jobs.run.job import Outcome
        from jobs.run.record import record_keys

        keys = record_keys(self.store, self.environment, self.job, self.subject, now=self.now, since=since)
        bad = (Outcome.FAILED, Outcome.DIED)
        return (key for key in keys if not self.failed or outcome_now(key, self.now) in bad)

    def _held(self) -> list[tuple[str, Holder]]:
        of_these = ((name, lock) for name, lock in self.locks.items() if is_of(name, self.job, self.subject))
        return [(name, lock) for name, lock in of_these if not lock.released]

    def _died(self) -> list[Record]:
        from jobs.run.record import find_record, record_of_dead_run

        return [
            find_record(self.store, self.environment, lock.run) or record_of_dead_run(self.environment, name, lock)
            for name, lock in self._held()
            if lock.expired(self.now)
        ]


def _time_of_run(run: str) -> datetime | None:
    """Return the start time in a whole ID; None for the end of an ID."""
    from jobs.run.documents import key_time

    try:
        return key_time(run)
    except ValueError:
        return None


def is_of(lock: str, job: str | None, subject: str | None) -> bool:
    """Return whether the lock `<job>/<subject>` is of this job and subject; None matches any."""
    return all(wanted in (None, part) for wanted, part in zip((job, subject), lock.split("/", 1), strict=True))


def running_as_json(lock: str, holder: Holder) -> dict[str, Any]:
    """Return a run in progress for --json."""
    job, subject = lock.split("/", 1)
    return {
        "run": holder.run,
        "job": job,
        "subject": subject,
        "started": to_second(holder.since),
        "host": holder.host,
        "pid": holder.pid,
        "user": holder.user,
        "command": holder.command,
    }


def print_runs(running: Iterable[tuple[str, Holder]], ended: Iterable[Record], now: datetime, zone: tzinfo) -> None:
    """Print a line for each run: runs in progress first, then ended runs."""
    rows: list[tuple[output.Cell | str, ...]] = [
        (
            format_time(holder.since, now, zone),
            output.Cell("running", output.RUNNING),
            *lock.split("/", 1),
            format_duration(now - holder.since),
            _started_by(holder.user, holder.host, scheduled=holder.tick is not None),
            output.Cell(holder.run, output.QUIET),
            f"on {holder.host} (pid {holder.pid})",
        )
        for lock, holder in running
    ]
    rows += [
        (
            format_time(r.started, now, zone),
            output.Cell(r.outcome, STYLES[r.outcome]),
            r.job,
            r.subject,
            format_duration(now - r.started if r.outcome is Outcome.RUNNING else r.duration),
            _started_by(r.user, r.host, scheduled=r.scheduled),
            output.Cell(r.run, output.QUIET),
            r.sentence,
        )
        for r in ended
    ]
    output.table(rows, ("started", "outcome", "job", "subject", "took", "by", "run", ""))


def _started_by(user: str, host: str, *, scheduled: bool) -> str:
    return "schedule" if scheduled else f"{user}@{host}"


def _show_run(record: Record | None, environment: Environment, run: str | None, *, as_json: bool) -> int:
    if record is None:
        from jobs.run.job import Failed

        what = f"there is no run {run}" if run else "there is no such run yet"
        raise Failed(f"{environment.name}: {what}; to list all runs: crew runs {environment.name}")
    if as_json:
        output.print_json({"environment": environment.name, **record_as_json(record), "log": list(record.log)})
        return 0
    output.say(f"{record.outcome}: {record.sentence}", STYLES[record.outcome])
    output.table(_facts(record, environment.timezone), indent=2)
    for line in record.log or ("The log is empty.",):
        output.say(line)
    return 0


def _facts(record: Record, zone: tzinfo) -> list[tuple[str, str]]:
    """Return the rows about one run: name and value."""
    started_by = f"by {_started_by(record.user, record.host, scheduled=record.scheduled)}"
    tick = f", for {record.tick.astimezone(zone):%Y-%m-%d %H:%M %Z}" if record.tick else ""
    facts = {
        "run": record.run,
        "job": f"{record.job} {record.subject}",
        "started": f"{record.started.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}, {started_by}{tick}",
        "took": f"{format_duration(record.duration)} on {record.host}, attempt {record.attempts}",
        "command": record.command,
        "stopped": record.stopped,
        "took over": record.took_over,
        **{name.replace("_", " "): str(value) for name, value in record.figures.items()},
    }
    return [(name, fact) for name, fact in facts.items() if fact]
