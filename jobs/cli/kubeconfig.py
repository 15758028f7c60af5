"""`crew kubeconfig`: a short-lived kubeconfig for a person."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from inventories import ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, DryRun, EnvironmentName, examples, new_app

app = new_app()


@app.command(
    "kubeconfig",
    epilog=examples(
        "crew kubeconfig staging ada --output ada.yaml",
        "crew kubeconfig staging ada --hours 1 --ssh root@server-1.acme.example --server k3s.acme.example",
        "crew kubeconfig staging ada --dry-run",
    ),
)
def kubeconfig_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="User, viewer or admin in group data.")],
    hours: Annotated[
        int,
        typer.Option(
            min=1, max=168, metavar="N", show_default=False, help="Hours until the certificate expires (default: 8)."
        ),
    ] = 8,
    to: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write FILE, which only you can read (default: print it)."),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            "--kubeconfig",
            metavar="FILE",
            help="Yours, with a context ENV (default: ~/.kube/ENV.yaml, $KUBECONFIG).",
        ),
    ] = None,
    ssh: Annotated[
        str | None, typer.Option(metavar="LOGIN", help="Use the kubectl of this K3s server instead; root, or sudo.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where people reach the API (default: as in your kubeconfig).")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Issue a short-lived kubeconfig for a person.

    The cluster signs a client certificate for a new key. The person has the rights of the bindings that name them; with
    none, the command fails. The key is kept nowhere else. A certificate cannot be revoked: to end someone's access
    before it expires, remove them from the group data and run deploys/k3s.py.
    """
    from jobs.kubeconfig import issue, kubectl_through, require_person

    environment = arguments.open_environment(ctx, environment_name)
    kubectl = kubectl_through(environment.name, kubeconfig=kubeconfig, ssh=ssh)
    rights = require_person(environment.name, person, kubectl)
    roles = {namespace or "*": list(names) for namespace, names in rights.roles.items()}
    document: dict[str, Any] = {"environment": environment.name, "person": person, "roles": roles}
    lines = [f"{person} has {sentence}." for sentence in rights.sentences()]
    if dry_run:
        lines.append(f"Would issue a kubeconfig for {hours} h.")
    else:
        lasts = timedelta(hours=hours)
        made = issue(person, rights, lasts, kubectl, environment=environment.name, server=server)
        document |= {"expires": f"{made.expires:%Y-%m-%dT%H:%M:%SZ}", "written": str(to) if to else None}
        document |= {"kubeconfig": None if to else made.text}
        lines.append(f"It expires at {made.expires.astimezone(environment.timezone):%Y-%m-%d %H:%M %Z}.")
        if to:
            write_kubeconfig(to, made.text)
            lines.append(f"Written: {to}. Try: kubectl --kubeconfig {to} get pods")
        elif not as_json:
            output.say_lines(made.text)
    if as_json:
        output.print_json(document)
    for line in [] if as_json else lines:
        output.say_to_stderr(line)
    return ExitCode.DONE


def write_kubeconfig(file: Path, text: str) -> None:
    """Write a file that only its owner can read, by rename."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with output.writing_to(file):
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as opened:
                opened.write(text)
            new.replace(file)
        finally:
            new.unlink(missing_ok=True)
