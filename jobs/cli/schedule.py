"""`crew schedule`: show the schedule, run it as a daemon, or export it for another scheduler."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import BadEnvironment
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, WrongUsage, examples, new_app
from jobs.format import format_duration, format_time
from jobs.run.documents import to_second

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from inventories import Environment, Repository
    from jobs.schedule.agenda import Item
    from jobs.schedule.export.destination import Destination
    from jobs.schedule.export.files import File

CRON_FOLDER, SYSTEMD_FOLDER = Path("/etc/cron.d"), Path("/etc/systemd/system")

app = new_app(
    group_help="Show, run and export the schedule of jobs.",
    group_examples=[
        "crew schedule list production",
        "crew schedule export systemd production --output /etc/systemd/system",
        "crew schedule run production",
    ],
)


class Scheduler(StrEnum):
    """A scheduler that `crew schedule export` writes files for."""

    CRON = "cron"
    SYSTEMD = "systemd"
    KUBERNETES = "kubernetes"


@app.command("list", epilog=examples("crew schedule list production", "crew schedule list production --json"))
def list_schedule_command(ctx: typer.Context, environment_name: EnvironmentName, as_json: AsJson = False) -> None:
    """List scheduled jobs with their last and next runs.

    A job is marked overdue if it did not run at a scheduled time.
    """
    from jobs.schedule.agenda import agenda

    environment, now = arguments.open_environment(ctx, environment_name), datetime.now(UTC)
    items = agenda(environment, arguments.environment_store(environment) if environment.store else None, now)
    if as_json:
        output.print_json({"environment": environment.name, "schedule": [item_as_json(item, now) for item in items]})
    elif items:
        header = ("job", "when", "last run", f"next runs ({environment.timezone.key})")
        output.table([_row(item, now, environment.timezone) for item in items], header)
    else:
        output.say(f"{environment_name}: no jobs are scheduled in its file", output.QUIET)


def _row(item: Item, now: datetime, zone: ZoneInfo) -> tuple[output.Cell | str, ...]:
    from jobs.schedule.due import describe_line

    job = f"{item.slot.job} {item.slot.name}".strip()
    next_runs = ", ".join(format_time(at, now, zone) for at in item.next)
    return job, describe_line(item.slot.line), _last_run(item, now, zone), next_runs


def _last_run(item: Item, now: datetime, zone: ZoneInfo) -> output.Cell:
    if item.running:
        return output.Cell("running now", output.RUNNING)
    last = f"{item.last.outcome} {format_duration(now - item.last.started)} ago" if item.last else "never"
    if item.overdue:
        return output.Cell(f"overdue since {format_time(item.overdue, now, zone)}; {last}", output.BAD)
    return output.Cell(last, "" if item.last else output.WARN)


def item_as_json(item: Item, now: datetime) -> dict[str, Any]:
    """Return a scheduled job for --json."""
    from jobs.schedule.due import describe_line

    return {
        "job": item.slot.job,
        "name": item.slot.name,
        "line": item.slot.line,
        "description": describe_line(item.slot.line),
        "last": item.last
        and {"run": item.last.run, "outcome": item.last.outcome, "started": to_second(item.last.started)},
        "running": item.running,
        "overdue_since": to_second(item.overdue),
        "overdue_seconds": round((now - item.overdue).total_seconds()) if item.overdue else 0,
        "next": [at.isoformat() for at in item.next],
    }


@app.command("run", epilog=examples("crew schedule run production", "crew schedule run staging production"))
def run_schedule_command(
    ctx: typer.Context,
    environment_names: Annotated[
        list[str], typer.Argument(metavar="ENV...", help="Environments whose schedules the daemon runs.")
    ],
    grace: Annotated[
        int, typer.Option(metavar="SECONDS", min=0, help="Time for running jobs to end after SIGTERM.")
    ] = 600,
) -> None:
    """Run the schedule as a daemon.

    Starts each due job as `crew run ... --scheduled` in its own process. If scheduled times were missed while the
    daemon was down, it runs the job once for all of them. SIGTERM stops the daemon. SIGHUP makes it read the
    environment files again.
    """
    from jobs.schedule.daemon import Daemon, Dependencies, handling_signals, process_starter
    from jobs.store import OutOfReach

    repository = arguments.find_repository(ctx)

    def wait(seconds: float) -> None:
        daemon.pause(seconds)

    for name in environment_names:
        with suppress(OutOfReach):  # the daemon tries again every minute
            arguments.environment_store(repository.read(name))
    opened = arguments.unmarked_store
    dependencies = Dependencies(read=repository.read, open=opened, start=process_starter(repository.root), wait=wait)
    daemon = Daemon(environment_names, dependencies, grace)
    with handling_signals(daemon):
        daemon.run()


@app.command(
    "export",
    epilog=examples(
        "crew schedule export systemd production --output /etc/systemd/system",
        "crew schedule export kubernetes production --image registry.acme.example/groundcrew:1",
    ),
)
def export_schedule_command(
    ctx: typer.Context,
    scheduler: Annotated[Scheduler, typer.Argument(metavar="SCHEDULER", help="cron, systemd or kubernetes.")],
    environment_name: EnvironmentName,
    output_folder: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Directory to write the files to (default: stdout).")
    ] = None,
    crew: Annotated[
        str, typer.Option(metavar="PATH", help="Path of crew on the target machine.")
    ] = "/usr/local/bin/crew",
    root: Annotated[
        str, typer.Option("--files", metavar="DIR", help="Directory of the environment files on the target machine.")
    ] = "/etc/groundcrew",
    user: Annotated[str, typer.Option(metavar="NAME", help="User that runs the jobs.")] = "groundcrew",
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="For cron: timezone of the target machine (default: that of this machine)."),
    ] = None,
    image: Annotated[
        str,
        typer.Option(metavar="IMAGE", help="For kubernetes: container image with crew; required.", show_default=False),
    ] = "",
    namespace: Annotated[
        str, typer.Option(metavar="NAME", help="For kubernetes: namespace of the CronJobs.")
    ] = "groundcrew",
) -> None:
    """Export the schedule for cron, systemd or Kubernetes.

    Writes a crontab, systemd timers or CronJobs. All three run at the same scheduled times, also when clocks change. If
    the scheduler cannot express a line of the schedule, the command prints the reason and writes nothing. Export again
    after you change the environment file.
    """
    from jobs.schedule.export import UnsupportedSchedule
    from jobs.schedule.export.destination import Destination

    if scheduler is Scheduler.KUBERNETES and not image:
        raise WrongUsage("kubernetes: --image is missing; name an image that contains crew, see the Dockerfile")
    repository = arguments.find_repository(ctx)
    destination = Destination(crew, root, user, _timezone(timezone), image, namespace)
    try:
        files = _files(scheduler, repository, repository.read(environment_name), destination)
    except UnsupportedSchedule as error:
        raise WrongUsage(f"{environment_name}: {error}") from None
    if output_folder is None:
        texts = [f"# {file.name}\n{file.text}" if len(files) > 1 else file.text for file in files]
        output.say_lines("\n".join(texts).removesuffix("\n"))
    else:
        _write_files(files, output_folder, environment_name, scheduler)
    if scheduler is not Scheduler.KUBERNETES:
        _warn_of_unreadable_files(repository.read(environment_name), user, systemd=scheduler is Scheduler.SYSTEMD)


def _warn_of_unreadable_files(environment: Environment, user: str, *, systemd: bool) -> None:
    """Warn of files that the units cannot read, as far as this machine can tell: the target can be another one."""
    import pwd

    from jobs.schedule.export.unreadable import UnitUser, unreadable_paths

    try:
        entry = pwd.getpwnam(user)
        unit_user = UnitUser(user, entry.pw_uid, os.getgrouplist(user, entry.pw_gid))
    except KeyError:
        unit_user = UnitUser(user)
    output.print_warnings(unreadable_paths(environment, unit_user, _stat_if_visible, systemd=systemd))


def _stat_if_visible(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _files(
    scheduler: Scheduler, repository: Repository, environment: Environment, destination: Destination
) -> Sequence[File]:
    from jobs.schedule.export import cron, kubernetes, systemd
    from jobs.schedule.slots import slots, timers

    now, environment_timers = datetime.now(UTC), timers(environment.name, slots(environment))
    if not environment_timers:
        raise WrongUsage(f"{environment.name}: no jobs are scheduled in its file; add backup = ... to a database")
    if scheduler is Scheduler.CRON:
        return cron.files(environment_timers, environment.timezone, destination, now)
    files = systemd.files if scheduler is Scheduler.SYSTEMD else kubernetes.files
    return files(environment, environment_timers, destination, _others(repository, environment), now)


def _others(repository: Repository, environment: Environment) -> dict[str, Environment]:
    """Return the other environments: refreshes read the keys of some, and no run may read any other key of theirs."""
    sources = {copy.source_environment for copy in environment.refresh.values()}
    others = {}
    for name in repository.names():
        try:
            others[name] = repository.read(name)
        except BadEnvironment as error:
            if name in sources:
                raise
            fault = (
                f"{error.lines[0]}; so the export does not hide the keys of {name} from the runs of {environment.name}"
            )
            output.print_warnings([fault])
    return others


def _timezone(name: str | None) -> ZoneInfo:
    """Return the named timezone, or the timezone of this machine."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    local = str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")[2]
    try:
        return ZoneInfo(name or os.environ.get("TZ") or local or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise WrongUsage(f"--timezone {name}: unknown timezone; expected a name such as Europe/Berlin") from None


def _write_files(files: Sequence[File], folder: Path, environment: str, scheduler: Scheduler) -> None:
    """Write the files; remove files of an earlier export that are no longer part of the schedule."""
    from jobs.schedule.export.files import made_by

    with output.writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    # With the full stop after the name, so that an export of prod removes no file of prod-eu.
    mark = f"{made_by(scheduler, environment)}. "
    for old in sorted(folder.glob(f"groundcrew-{environment}*")):
        if old.name not in {file.name for file in files} and mark in old.read_text(errors="replace")[:500]:
            with output.writing_to(old):
                old.unlink()
            stop = f"; to stop it: systemctl stop {old.name}" if old.suffix == ".timer" else ""
            output.say(f"removed {old}, which is no longer scheduled{stop}", output.QUIET)
    for file in files:
        with output.writing_to(folder / file.name):
            (folder / file.name).write_text(file.text)
        output.say(f"wrote {folder / file.name}")
    output.say_lines(next_step(scheduler, environment, folder), output.QUIET)


def next_step(scheduler: Scheduler, environment: str, folder: Path) -> str:
    """Return what to do with exported files: cron and systemd read them in one directory only."""
    if scheduler is Scheduler.KUBERNETES:
        return f"Next: kubectl apply --prune -l groundcrew/environment={environment} -f {folder}"
    if scheduler is Scheduler.CRON:
        copy = "" if folder == CRON_FOLDER else f"Next: cp {folder}/groundcrew-{environment} {CRON_FOLDER}/\n"
        return f"{copy}cron reads new files in {CRON_FOLDER} without a restart."
    copy = "" if folder == SYSTEMD_FOLDER else f"cp {folder}/groundcrew-{environment}-* {SYSTEMD_FOLDER}/ && "
    enable = f"systemctl enable --now groundcrew-{environment}-*.timer"
    return f"Next: {copy}cd {SYSTEMD_FOLDER} && systemctl daemon-reload && {enable}"


@app.command("died", hidden=True, epilog=examples("crew schedule died production"))
def died_command(ctx: typer.Context, environment_name: EnvironmentName) -> None:
    """Send an alert about a unit that failed without a run record; systemd starts this for failed units."""
    from jobs.run.delivery import Message, send_by_apprise
    from jobs.run.job import Severity
    from jobs.schedule.unit_failure import failure_message

    environment = arguments.open_environment(ctx, environment_name)
    text = failure_message(environment.name, {"HOSTNAME": socket.gethostname(), **os.environ})
    if text is None:
        output.say("The run has a record and has sent its own alerts.", output.QUIET)
        return
    output.say(text, output.BAD)
    title = f"{environment.name}: a run was killed or crashed"
    message = Message(title, text, Severity.FAILURE, command=f"crew status {environment.name}")
    failed = [to.source for to in environment.alerts.to if not send_by_apprise(to, message)]
    if failed:
        output.say_to_stderr(f"The alert could not be sent to: {', '.join(failed)}")
        raise typer.Exit(1)
