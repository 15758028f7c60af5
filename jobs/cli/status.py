"""`crew status`: how the environments are, for somebody who was just woken up."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentNames, examples, new_app
from jobs.cli.exit_codes import known_end
from jobs.format import format_duration, format_time
from jobs.status.health import Health, HealthState, environment_health

if TYPE_CHECKING:
    from inventories import Repository
    from jobs.status.collect import EnvironmentStatus

app = new_app()

_SIDE_BY_SIDE = 8
STYLES = {
    HealthState.FAILED: output.BAD,
    HealthState.DIED: output.BAD,
    HealthState.FINDING: output.WARN,
    HealthState.LATE: output.WARN,
    HealthState.NEVER: output.WARN,
    HealthState.RUNNING: output.RUNNING,
    HealthState.NOT_YET: output.QUIET,
    HealthState.OK: output.GOOD,
}


@app.command("status", epilog=examples("crew status", "crew status production", "crew status --html status.html"))
def status(
    ctx: typer.Context,
    environment_names: EnvironmentNames = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page that needs nothing beside itself.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """How the environments are: the bad news first.

    For each environment: what is wrong and since when, what runs now, what is in order and how old that is.
    Exits 0 whatever the news; 1 or 78 only if an environment's news can't be had.
    """
    repository, now = arguments.repository(ctx), datetime.now(UTC)
    names = environment_names or repository.names()
    if html:
        return _write_page(html, repository, names, now, as_json=as_json)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:  # so that a store that does not answer holds up no other's news
        told = list(pool.map(lambda name: _look(repository, name, now), names))
    if as_json:
        arguments.print_json({"environments": [one for one, _ in told]})
    else:
        for one, zone in sorted(told, key=lambda pair: -pair[0].get("wrong", len(told))):
            _show(one, now, zone)
        if not told:
            output.say(f"No environments in {repository.folder}; the first: crew init NAME", output.QUIET)
    return max((one.get("code", ExitCode.DONE) for one, _ in told), default=ExitCode.DONE)


def _write_page(file: Path, repository: Repository, names: Sequence[str], now: datetime, *, as_json: bool) -> int:
    """The page of these environments; it is written even if the news of some can't be had."""
    from jobs.status.page import render_page

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        pairs = list(pool.map(lambda name: _seen(repository, name, now), names))
    file.write_text(render_page([seen for seen, _ in pairs], now))
    if as_json:
        arguments.print_json({"page": str(file)})
    else:
        output.say(f"wrote {file}")
    return max((code for _, code in pairs), default=ExitCode.DONE)


def _seen(repository: Repository, name: str, now: datetime) -> tuple[EnvironmentStatus, ExitCode]:
    """An environment as the page shows it, and the exit code for what can't be shown."""
    from jobs.status.collect import EnvironmentStatus, environment_status

    try:
        environment = repository.read(name)
        if environment.store is None:
            return EnvironmentStatus(name, UTC), ExitCode.DONE
        return environment_status(environment, arguments.store(environment), now), ExitCode.DONE
    except Exception as error:
        known = known_end(error)
        if known is None:
            raise
        return EnvironmentStatus(name, UTC, error="\n".join(known[1])), known[0]


def _look(repository: Repository, name: str, now: datetime) -> tuple[dict[str, Any], tzinfo]:
    """An environment's news, or why they can't be had."""
    from jobs.registry import JOBS
    from jobs.schedule.slots import slots

    try:
        environment = repository.read(name)
        if environment.store is None:
            return {"environment": name, "wrong": 0, "subjects": [], "note": f"no [store]: {_NOTHING_KEPT}"}, UTC
        scheduled = [slot for slot in slots(environment) if slot.job in JOBS]
        found = environment_health(scheduled, environment, arguments.store(environment), now)
    except Exception as error:
        known = known_end(error)
        if known is None:
            raise
        return {"environment": name, "error": "\n".join(known[1]), "code": int(known[0])}, UTC
    return summary(name, found), environment.timezone


_NOTHING_KEPT = "nothing is run or kept here"


def summary(name: str, found: Sequence[Health]) -> dict[str, Any]:
    """The numbers that matter, and what they are made of."""
    return {
        "environment": name,
        "wrong": sum(one.state.wrong for one in found),
        "running": sum(one.state is HealthState.RUNNING for one in found),
        "ok": sum(one.state is HealthState.OK for one in found),
        "subjects": [one.told() for one in found],
        **({} if any(one.state is not HealthState.NOT_YET for one in found) else {"note": _nothing_yet(name, found)}),
    }


def _nothing_yet(name: str, found: Sequence[Health]) -> str:
    """What to do first."""
    first = next((f", then crew run {one.job} {name}" for one in found), "")
    return f"nothing has run yet. First: crew check {name}{first}"


def _show(one: dict[str, Any], now: datetime, zone: tzinfo) -> None:
    """An environment on the screen."""
    name = one["environment"]
    if "error" in one:
        output.say(f"{name}: its news can't be had", output.BAD)
        output.say("\n".join(f"  {line}" for line in one["error"].splitlines()))
    elif "note" in one:
        output.say(f"{name}: {one['note']}", output.QUIET)
    else:
        output.say(f"{name}: {headline(one)}", output.BAD if one["wrong"] else output.GOOD)
        output.table([row(subject, now, zone) for subject in one["subjects"]], indent=2)
    typer.echo()


def headline(one: dict[str, Any]) -> str:
    """Three numbers, in words."""
    return f"{one['wrong'] or 'nothing'} wrong, {one['running']} running, {one['ok']} in order"


def row(subject: dict[str, Any], now: datetime, zone: tzinfo) -> tuple[output.Cell | str, ...]:
    """A line of the table: what state, of what, since when or how old, and the sentence."""
    state = HealthState(subject["state"])
    return (
        output.Cell(state, STYLES[state]),
        f"{subject['job']} {subject['subject']}".strip(),
        _when(state, subject, now, zone),
        output.Cell(_next(subject, now, zone), output.QUIET),
        subject["sentence"],
    )


def _next(subject: dict[str, Any], now: datetime, zone: tzinfo) -> str:
    return f"next {format_time(datetime.fromisoformat(subject['next']), now, zone)}" if subject["next"] else ""


def _when(state: HealthState, subject: dict[str, Any], now: datetime, zone: tzinfo) -> str:
    since = subject["since"] and datetime.fromisoformat(subject["since"])
    if since is None:
        return ""
    ago = format_duration(now - since)
    if state is HealthState.OK:
        return f"{ago} ago"
    before = "before " if subject["since_before"] else ""
    return f"since {before}{format_time(since, now, zone)} ({ago})"
