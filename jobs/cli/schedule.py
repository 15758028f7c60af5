"""`crew schedule`: what runs when, the daemon that runs it, and the same schedule for others to run."""

from __future__ import annotations

import os
import re
import socket
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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

app = new_app(several="What runs when, and what runs it.")


class Target(StrEnum):
    """What can run a schedule."""

    CRON = "cron"
    SYSTEMD = "systemd"
    KUBERNETES = "kubernetes"


@app.command("list", epilog=examples("crew schedule list production"))
def list_schedule(ctx: typer.Context, environment_name: EnvironmentName, as_json: AsJson = False) -> None:
    """Each job that is on the clock: when, its last run, its next three, and what is overdue."""
    from jobs.schedule.agenda import agenda

    environment, now = arguments.environment(ctx, environment_name), datetime.now(UTC)
    found = agenda(environment, arguments.store(environment) if environment.store else None, now)
    if as_json:
        arguments.print_json({"environment": environment.name, "schedule": [slot_as_json(item, now) for item in found]})
    elif found:
        header = ("job", "when", "last run", f"next runs ({environment.timezone.key})")
        output.table([_row(item, now, environment.timezone) for item in found], header)
    else:
        output.say(f"{environment_name}: its file puts nothing on the clock.", output.QUIET)


def _row(item: Item, now: datetime, zone: ZoneInfo) -> tuple[output.Cell | str, ...]:
    from jobs.schedule.due import describe_line as line_in_words

    next_runs = ", ".join(format_time(at, now, zone) for at in item.next)
    return f"{item.slot.job} {item.slot.name}".strip(), line_in_words(item.slot.line), _last(item, now, zone), next_runs


def _last(item: Item, now: datetime, zone: ZoneInfo) -> output.Cell:
    if item.running:
        return output.Cell("running now", "cyan")
    ran = f"{item.last.outcome} {format_duration(now - item.last.started)} ago" if item.last else "never"
    if item.overdue:
        return output.Cell(f"OVERDUE since {format_time(item.overdue, now, zone)}; {ran}", output.BAD)
    return output.Cell(ran, "" if item.last else output.WARN)


def slot_as_json(item: Item, now: datetime) -> dict[str, Any]:
    """A slot for machines."""
    from jobs.schedule.due import describe_line as line_in_words

    return {
        "job": item.slot.job,
        "name": item.slot.name,
        "line": item.slot.line,
        "words": line_in_words(item.slot.line),
        "last": item.last
        and {"run": item.last.run, "outcome": item.last.outcome, "started": to_second(item.last.started)},
        "running": item.running,
        "overdue_since": to_second(item.overdue),
        "overdue_seconds": round((now - item.overdue).total_seconds()) if item.overdue else 0,
        "next": [at.isoformat() for at in item.next],
    }


@app.command("run", epilog=examples("crew schedule run production", "crew schedule run staging production"))
def run_schedule(
    ctx: typer.Context,
    environment_names: Annotated[list[str], typer.Argument(metavar="ENV...", help="The environments to look after.")],
    grace: Annotated[
        int, typer.Option(metavar="SECONDS", min=0, help="Told to end, how long what runs may take to end by itself.")
    ] = 600,
) -> None:
    """Run the schedule: the daemon.

    What is due is started as `crew run ... --scheduled`, each in a process of its own. What was missed while nobody
    looked is made up for by one run. SIGTERM ends it, SIGHUP has it read the environment files again.
    """
    from jobs.schedule.daemon import Daemon, Dependencies, handling_signals, process_starter
    from jobs.store import open_store

    repository = arguments.repository(ctx)

    def opened(environment: Environment) -> Any:
        assert environment.store
        return open_store(environment.store)

    def wait(seconds: float) -> None:
        daemon.pause(seconds)

    for name in environment_names:
        arguments.store(repository.read(name))
    world = Dependencies(read=repository.read, open=opened, start=process_starter(repository.root), wait=wait)
    daemon = Daemon(environment_names, world, grace)
    with handling_signals(daemon):
        daemon.run()


@app.command(
    "export",
    epilog=examples(
        "crew schedule export systemd production --output /etc/systemd/system",
        "crew schedule export kubernetes production --image registry.acme.example/groundcrew:1",
    ),
)
def export_schedule(
    ctx: typer.Context,
    target: Target,
    environment_name: EnvironmentName,
    output_folder: Annotated[
        Path | None, typer.Option("--output", metavar="FOLDER", help="Write the files there; left out: to stdout.")
    ] = None,
    crew: Annotated[str, typer.Option(metavar="PATH", help="Where crew is on the machine.")] = "/usr/local/bin/crew",
    root: Annotated[str, typer.Option("--files", metavar="FOLDER", help="Where the environment files are there.")] = (
        "/etc/groundcrew"
    ),
    user: Annotated[str, typer.Option(metavar="NAME", help="The user that runs it.")] = "groundcrew",
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="cron: the machine's timezone; left out: that of this one.")
    ] = None,
    image: Annotated[str, typer.Option(metavar="IMAGE", help="Kubernetes: the image that has crew.")] = "",
    namespace: Annotated[str, typer.Option(metavar="NAME", help="Kubernetes: where the CronJobs live.")] = "groundcrew",
) -> None:
    """Write the schedule for cron, systemd timers or Kubernetes.

    All three get the same ticks, whatever they do when clocks change; a line that one of them can't express is
    refused with the reason. Change the environment file, and export again.
    """
    from jobs.schedule.export import UnsupportedSchedule
    from jobs.schedule.export.destination import Destination

    if target is Target.KUBERNETES and not image:
        raise WrongUsage("kubernetes wants --image NAME, the image that has crew; the Dockerfile makes one")
    repository = arguments.repository(ctx)
    place = Destination(crew, root, user, _zone(timezone), image, namespace)
    try:
        files = _files(target, repository, repository.read(environment_name), place)
    except UnsupportedSchedule as error:
        raise WrongUsage(f"{environment_name}: {error}") from None
    if output_folder is None:
        typer.echo(
            "\n".join(f"# {file.name}\n{file.text}" if len(files) > 1 else file.text for file in files), nl=False
        )
    else:
        _write(files, output_folder, environment_name, target)


def _files(target: Target, repository: Repository, environment: Environment, place: Destination) -> Sequence[File]:
    from jobs.schedule.export import cron, kubernetes, systemd
    from jobs.schedule.slots import scheduled, timers

    now, on_clock = datetime.now(UTC), timers(environment.name, scheduled(environment))
    if not on_clock:
        raise WrongUsage(f"{environment.name}: its file puts nothing on the clock; add backup = ... to a database")
    if target is Target.CRON:
        return cron.files(on_clock, environment.timezone, place, now)
    copied = {copy.source_environment for copy in environment.refresh.values()}
    sources = {name: repository.read(name) for name in sorted(copied)}
    make = systemd.files if target is Target.SYSTEMD else kubernetes.files
    return make(environment, on_clock, place, sources, now)


def _zone(name: str | None) -> ZoneInfo:
    """The timezone that is named, else that of this machine."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    here = str(Path("/etc/localtime").resolve()).partition("/zoneinfo/")[2]
    try:
        return ZoneInfo(name or os.environ.get("TZ") or here or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise WrongUsage(f"--timezone {name}: there is no such timezone; write one such as Europe/Berlin") from None


def _write(files: Sequence[File], folder: Path, environment: str, target: Target) -> None:
    """Write the files, and remove those of an earlier export that are no longer made."""
    folder.mkdir(parents=True, exist_ok=True)
    mine = re.compile(rf": crew schedule export {target} {re.escape(environment)}\.?\s")  # not that of prod-eu for prod
    for old in sorted(folder.glob(f"groundcrew-{environment}*")):
        if old.name not in {file.name for file in files} and mine.search(old.read_text(errors="replace")[:500]):
            old.unlink()
            stop = f": systemctl stop {old.name}" if old.suffix == ".timer" else ""
            output.say(f"removed {old}, which is no longer on the clock{stop}", output.QUIET)
    for file in files:
        (folder / file.name).write_text(file.text)
        output.say(f"wrote {folder / file.name}")
    output.say(NEXT[target].format(environment=environment, folder=folder), output.QUIET)


NEXT = {
    Target.CRON: "cron reads /etc/cron.d by itself.",
    Target.SYSTEMD: (
        "Next: cd {folder} && systemctl daemon-reload && systemctl enable --now groundcrew-{environment}-*.timer"
    ),
    Target.KUBERNETES: "Next: kubectl apply --prune -l groundcrew/environment={environment} -f {folder}",
}


@app.command("died", hidden=True, epilog=examples("crew schedule died production"))
def died(ctx: typer.Context, environment_name: EnvironmentName) -> None:
    """Tell of a unit that died without a word; systemd calls this for runs that failed."""
    from jobs.run.delivery import send_by_apprise
    from jobs.schedule.unit_failure import failure_message

    environment = arguments.environment(ctx, environment_name)
    text = failure_message(environment.name, {"HOSTNAME": socket.gethostname(), **os.environ})
    if text is None:
        output.say("The run has told of itself.", output.QUIET)
        return
    output.say(text, output.BAD)
    failed = [to.source for to in environment.alerts.to if not send_by_apprise(to, f"{environment.name}: a run died", text)]
    if failed:
        sys.stderr.write(f"Not told: {', '.join(failed)}\n")
        raise typer.Exit(1)
