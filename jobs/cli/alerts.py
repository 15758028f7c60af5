"""`crew alerts`: test the alert addresses."""

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

app = new_app(group_help="Test the alert addresses of an environment.", group_examples=["crew alerts test production"])


@app.command("test", epilog=examples("crew alerts test staging", "crew alerts test production --json"))
def alerts_test_command(ctx: typer.Context, environment_name: EnvironmentName, as_json: AsJson = False) -> int:
    """Send a test message to each alert address.

    Prints the result for each address. Exits with 1 if a message could not be sent.
    """
    environment = arguments.open_environment(ctx, environment_name)
    addresses = environment.alerts.all_addresses
    if not addresses:
        raise NotConfigured(
            f"{environment.name}: alerts.to is empty, so no alert can be sent. "
            f'Add [alerts] to = ["mailto://…"] to inventories/{environment.name}.toml.'
        )
    with ThreadPoolExecutor(len(addresses)) as pool:
        results = list(pool.map(lambda address: send_test_message(address, environment.name), addresses))
    if as_json:
        output.print_json({"environment": environment.name, "addresses": results})
    else:
        _print_results(results)
    return ExitCode.DONE if all(result["sent"] for result in results) else ExitCode.FAILED


def send_test_message(address: Secret, environment: str) -> dict[str, str | bool]:
    """Send a message to one address and return the result, without the address itself."""
    from jobs.checks.alerts import describe_address
    from jobs.run.delivery import Message, send_by_apprise
    from jobs.run.job import Severity

    text = f"This is a test, sent by crew alerts test at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Nothing is wrong."
    message = Message(f"{environment}: test alert", text, Severity.INFO, command=f"crew status {environment}")

    name, why = address.source, "the message was not accepted; crew -v alerts test shows details"
    try:
        name = describe_address(address)
        sent = send_by_apprise(address, message)
    except Exception as error:  # a faulty address must not hide the results of the others
        sent, why = False, str(error)
    return {"address": name, "sent": sent, "sentence": "message accepted for delivery" if sent else why}


def _print_results(results: list[dict[str, str | bool]]) -> None:
    """Print a line for each address, failures first."""
    labels = {True: output.Cell("sent", output.GOOD), False: output.Cell("failed", output.BAD)}
    output.table(
        [
            (labels[bool(result["sent"])], str(result["address"]), str(result["sentence"]))
            for result in sorted(results, key=lambda result: bool(result["sent"]))
        ]
    )
