"""`crew status`: show environment health, problems first."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import PITR, ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentNames, WrongUsage, examples, new_app
from jobs.cli.exit_codes import explained
from jobs.format import format_duration, format_time, plural
from jobs.status.health import Health, HealthState, environment_health

if TYPE_CHECKING:
    from inventories import Repository
    from jobs.status.collect import EnvironmentStatus

app = new_app()

AT_ONCE = 8
Summary = tuple[dict[str, Any], tzinfo]
"""The health of an environment for --json, and its timezone."""

STYLES = {
    HealthState.LOST: output.BAD,
    HealthState.FAILED: output.BAD,
    HealthState.DIED: output.BAD,
    HealthState.FINDING: output.WARN,
    HealthState.TOO_LONG: output.WARN,
    HealthState.OVERDUE: output.WARN,
    HealthState.NEVER: output.WARN,
    HealthState.RUNNING: output.RUNNING,
    HealthState.NOT_YET: output.QUIET,
    HealthState.GONE: output.QUIET,
    HealthState.OK: output.GOOD,
}


@app.command(
    "status",
    epilog=examples(
        "crew status",
        "crew status production --failed",
        "crew status --watch",
        "crew status --json",
        "crew status --exit-code > /dev/null || echo problems",
        "crew status --html /var/www/status.html",
    ),
)
def status_command(
    ctx: typer.Context,
    environment_names: EnvironmentNames = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a self-contained HTML page to FILE.")
    ] = None,
    only_failed: Annotated[bool, typer.Option("--failed", help="Show only problems.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw the terminal every 30 seconds until Ctrl-C.")] = False,
    exit_with_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 2 if there are problems.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show environment health, problems first.

    Shows for each environment its problems and when they started, running jobs, and the age of the last successful run.
    Problems change the exit code only with --exit-code. The exit code is 1 or 78 if crew cannot read the health of an
    environment.
    """
    repository, now = arguments.find_repository(ctx), datetime.now(UTC)
    names = environment_names or repository.names()
    if html:
        return _write_page(html, repository, names, now, as_json=as_json)
    if watch:
        from jobs.cli.watching import redraw

        if as_json or exit_with_code or not sys.stdout.isatty():
            raise WrongUsage("--watch redraws a terminal; omit --json and --exit-code, and do not redirect the output")
        redraw(lambda: _print_all(_summaries(repository, names), datetime.now(UTC), only_failed=only_failed))
        return ExitCode.DONE
    summaries = _summaries(repository, names)
    if as_json:
        output.print_json({"environments": [summary for summary, _ in summaries]})
    else:
        _print_all(summaries, now, only_failed=only_failed)
        _repeat_problems([summary for summary, _ in _worst_first(summaries)], only_failed=only_failed)
        if not summaries:
            output.say(f"No environments in {repository.folder}. To create one: crew init NAME", output.QUIET)
    unreadable = max((summary.get("code", ExitCode.DONE) for summary, _ in summaries), default=ExitCode.DONE)
    has_problems = any(summary.get("problems") for summary, _ in summaries)
    return unreadable or (ExitCode.FINDING if exit_with_code and has_problems else ExitCode.DONE)


def _summaries(repository: Repository, names: Sequence[str]) -> list[Summary]:
    """Return the health of environments as of now. A store that does not respond delays no other environment."""
    now = datetime.now(UTC)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda name: _summary(repository, name, now), names))


def _worst_first(summaries: Sequence[Summary]) -> list[Summary]:
    return sorted(summaries, key=lambda pair: -pair[0].get("problems", len(summaries)))


def _print_all(summaries: Sequence[Summary], now: datetime, *, only_failed: bool) -> None:
    for summary, zone in _worst_first(summaries):
        print_summary(summary, now, zone, only_failed=only_failed)


def _repeat_problems(summaries: Sequence[dict[str, Any]], *, only_failed: bool) -> None:
    """On a terminal, repeat the problems at the end if they have scrolled away."""
    lines = sum(len(summary.get("subjects", ())) + 2 for summary in summaries)
    if only_failed or not sys.stdout.isatty() or lines < get_terminal_size().lines:
        return
    for sentence in problem_lines(summaries):
        output.say(sentence, output.BAD)


def problem_lines(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each problem of all environments."""
    return [
        f"{summary['environment']}: {subject['state']}  {subject['job']} {subject['subject']}".rstrip()
        for summary in summaries
        for subject in summary.get("subjects", ())
        if HealthState(subject["state"]).is_problem
    ]


def _write_page(file: Path, repository: Repository, names: Sequence[str], now: datetime, *, as_json: bool) -> int:
    """Write the page, even if the health of some environments cannot be read; return the exit code."""
    from jobs.status.page import render_page

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda name: _page_status(repository, name, now), names))
    with output.writing_to(file):
        file.write_text(render_page([status for status, _ in results], now))
    if as_json:
        output.print_json({"page": str(file)})
    else:
        output.say(f"wrote {file}")
    return max((code for _, code in results), default=ExitCode.DONE)


def _page_status(repository: Repository, name: str, now: datetime) -> tuple[EnvironmentStatus, ExitCode]:
    """Return an environment's status for the page, and the exit code if it cannot be read."""
    from jobs.status.collect import EnvironmentStatus, environment_status

    try:
        environment = repository.read(name)
        if environment.store is None:
            return EnvironmentStatus(name, UTC), ExitCode.DONE
        return environment_status(environment, arguments.environment_store(environment), now), ExitCode.DONE
    except Exception as error:
        known = explained(error)
        if known is None:
            raise
        code, lines = known
        return EnvironmentStatus(name, UTC, error="\n".join(lines)), code


def _summary(repository: Repository, name: str, now: datetime) -> Summary:
    """Return an environment's health for --json, or why it cannot be read; and its timezone."""
    from jobs.schedule.slots import slots

    try:
        environment = repository.read(name)
        if environment.store is None:
            return {"environment": name, "problems": 0, "subjects": [], "note": "no [store], so no jobs run here"}, UTC
        store = arguments.environment_store(environment)
        health = environment_health(slots(environment), environment, store, now, few_requests=True)
    except Exception as error:
        known = explained(error)
        if known is None:
            raise
        code, lines = known
        return {"environment": name, "error": "\n".join(lines), "code": int(code)}, UTC
    return health_as_json(name, health), environment.timezone


def health_as_json(name: str, health: Sequence[Health]) -> dict[str, Any]:
    """Return the health of an environment for --json."""
    nothing_ran = all(each.state is HealthState.NOT_YET for each in health)
    return {
        "environment": name,
        "problems": sum(each.state.is_problem for each in health),
        "running": sum(each.state is HealthState.RUNNING for each in health),
        "ok": sum(each.state is HealthState.OK for each in health),
        "sets_not_checked": sum(not each.set_checked for each in health),
        "subjects": [each.as_json() for each in health],
        **({"note": _first_steps(name, health)} if nothing_ran else {}),
    }


def _first_steps(name: str, health: Sequence[Health]) -> str:
    run = next((f", then crew run {each.job} {name}" for each in health), "")
    return f"no runs yet. Start with: crew check {name}{run}"


def print_summary(summary: dict[str, Any], now: datetime, zone: tzinfo, *, only_failed: bool = False) -> None:
    """Print the health of an environment."""
    name = summary["environment"]
    if "error" in summary:
        output.say(f"{name}: cannot read its health", output.BAD)
        for line in summary["error"].split("\n"):
            output.say(f"  {line}")
    elif "note" in summary:
        output.say(f"{name}: {summary['note']}", output.QUIET)
    else:
        output.say(f"{name}: {headline(summary)}", output.BAD if summary["problems"] else output.GOOD)
        shown = [
            subject for subject in summary["subjects"] if not only_failed or HealthState(subject["state"]).is_problem
        ]
        output.table(_rows(shown, now, zone), indent=2)
        if unchecked := summary["sets_not_checked"]:
            databases = plural(unchecked, "database")
            output.say(
                f"  Not checked in the store: the sets of {databases}. crew check {name} checks all.", output.QUIET
            )
    output.say("")


def headline(summary: dict[str, Any]) -> str:
    """Return the counts of an environment in words."""
    problems = plural(summary["problems"], "problem") if summary["problems"] else "no problems"
    return f"{problems}, {summary['running']} running, {summary['ok']} ok"


def _rows(subjects: Sequence[dict[str, Any]], now: datetime, zone: tzinfo) -> list[Sequence[output.Cell | str]]:
    """Return the rows of the table: problems first, then the others, those of each server under its name."""
    from jobs.backup import by_server

    problems = [subject for subject in subjects if HealthState(subject["state"]).is_problem]
    others = [subject for subject in subjects if not HealthState(subject["state"]).is_problem]
    rows: list[Sequence[output.Cell | str]] = [_row(subject, now, zone) for subject in problems]
    copies = {str(subject["subject"]).partition(".")[0] for subject in subjects if subject["job"] == "copy"}
    for server, of_server in by_server(others, lambda subject: str(subject["subject"])):
        if server:
            states = Counter(str(subject["state"]) for subject in of_server)
            counts = ", ".join(f"{number} {state}" for state, number in states.items())
            title = "copy" if server in copies else "stanzas" if server == PITR else "server"
            name = "" if server == PITR else f" {server}"
            rows.append([output.Cell(f"{title}{name}: {counts}", output.HEADING)])
        rows += (_row(subject, now, zone) for subject in of_server)
    return rows


def _row(subject: dict[str, Any], now: datetime, zone: tzinfo) -> tuple[output.Cell | str, ...]:
    """Return a row of the table: state, job, age, next run, and the last result."""
    state = HealthState(subject["state"])
    return (
        output.Cell(state, STYLES[state]),
        f"{subject['job']} {subject['subject']}".strip(),
        _age(state, subject, now, zone),
        output.Cell(_next_run(subject, now, zone), output.QUIET),
        subject["sentence"],
    )


def _next_run(subject: dict[str, Any], now: datetime, zone: tzinfo) -> str:
    return f"next {format_time(datetime.fromisoformat(subject['next']), now, zone)}" if subject["next"] else ""


def _age(state: HealthState, subject: dict[str, Any], now: datetime, zone: tzinfo) -> str:
    since = subject["since"] and datetime.fromisoformat(subject["since"])
    if since is None:
        return ""
    ago = format_duration(now - since)
    if state is HealthState.OK:
        return f"{ago} ago"
    return f"since {format_time(since, now, zone)} ({ago})"
