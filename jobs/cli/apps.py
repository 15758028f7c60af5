"""`crew apps`: which apps run in an environment, and since when."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, WrongUsage, examples, new_app

if TYPE_CHECKING:
    from jobs.apps import DeployedApp

app = new_app()


@app.command("apps", epilog=examples("crew apps staging", "crew apps production --json"))
def apps_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    record: Annotated[
        bool,
        typer.Option("--record", help="Record the apps in a JSON list on stdin, as deploys/k3s_apps.py does."),
    ] = False,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="APP", help="Delete the record of an app that was removed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the apps that passed their tests in an environment.

    deploys/k3s_apps.py records them with `apps_record = True`: the chart's version, the digests of images and a hash of
    the objects. With `apps_proven_in`, it deploys only what has passed in the environment named there.
    """
    from jobs.apps import forget_app, read_deployed, record_apps
    from jobs.run.documents import utc_now

    environment = arguments.open_environment(ctx, environment_name)
    store = arguments.environment_store(environment)
    if forget:
        forget_app(store, environment.name, forget)
    if record:
        found = record_apps(store, environment.name, apps_from_stdin(), utc_now())
    else:
        found = read_deployed(store, environment.name)
    if as_json:
        output.print_json({"environment": environment.name, "apps": [asdict(each) for each in found]})
    elif found:
        header = ("app", "version", "namespace", "since", "passed", "")
        output.table([_row(each) for each in found], header)
    else:
        output.say(f"{environment.name}: no app is recorded; set apps_record = True and run deploys/k3s_apps.py")


def _row(each: DeployedApp) -> tuple[output.Cell | str, ...]:
    note = output.Cell("unproven", output.WARN) if each.unproven else ""
    return each.name, each.version or "none", each.namespace, each.since, each.passed, note


def apps_from_stdin() -> list[DeployedApp]:
    """Return the apps in the JSON list on stdin."""
    from jobs.apps import parse_app

    try:
        listed = json.load(sys.stdin)
        apps = [parse_app(each) for each in listed] if isinstance(listed, list) else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongUsage(f"stdin is not a JSON list of apps ({type(error).__name__}: {error})") from None
    if apps is None:
        raise WrongUsage("stdin is not a JSON list of apps")
    return apps
