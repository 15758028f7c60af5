"""`crew alerts`: where the bad news goes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from inventories import ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, NotConfigured, examples, new_app

if TYPE_CHECKING:
    from inventories import Secret

app = new_app(several="Where the bad news goes.")


@app.command("test", epilog=examples("crew alerts test staging", "crew alerts test production --json"))
def message(ctx: typer.Context, environment_name: EnvironmentName, as_json: AsJson = False) -> int:
    """Send a test message to each alert address of an environment.

    Says of each address whether the message arrived, and exits 1 if one did not.
    """
    environment = arguments.environment(ctx, environment_name)
    to = environment.alerts.to
    if not to:
        raise NotConfigured(
            f'{environment.name}: alerts.to names nobody, so nobody would be told; add [alerts] to = ["mailto://…"]'
        )
    title = f"{environment.name}: a test of alerts"
    text = f"Somebody ran crew alerts test at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Nothing is wrong."
    with ThreadPoolExecutor(len(to)) as pool:
        told = list(pool.map(lambda address: send(address, title, text), to))
    if as_json:
        arguments.print_json({"environment": environment.name, "addresses": told})
    else:
        _show(told)
    return ExitCode.DONE if all(one["arrived"] for one in told) else ExitCode.FAILED


def send(address: Secret, title: str, text: str) -> dict[str, str | bool]:
    """Send to one address, and say what came of it without giving the address away."""
    from jobs.checks.alerts import describe_address
    from jobs.run.delivery import send_by_apprise

    name, why = address.source, "it was refused; -v says more"
    try:
        name = describe_address(address)
        arrived = send_by_apprise(address, title, text)
    except Exception as error:  # one broken address must not hide what came of the others
        arrived, why = False, str(error)
    return {"address": name, "arrived": arrived, "sentence": "a message is on its way" if arrived else why}


def _show(told: list[dict[str, str | bool]]) -> None:
    """A line for each address, those that failed on top."""
    words = {True: output.Cell("sent", output.GOOD), False: output.Cell("failed", output.BAD)}
    output.table(
        [
            (words[bool(one["arrived"])], str(one["address"]), str(one["sentence"]))
            for one in sorted(told, key=lambda one: bool(one["arrived"]))
        ]
    )
