"""`crew backups evidence`: a signed report on backups over a period, for an auditor."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.author import user_name
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, WrongUsage
from jobs.cli.runs import parse_since
from jobs.format import plural

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.backup import SigningKey


def evidence_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Start of the period: 2026-10-01, 90d, or an ISO time.")
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page to FILE, and its signature to FILE.sig.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a signed report on backups for an auditor.

    For each database: its backups and gaps, verifications with their durations, restores and who did them, retention,
    and the sets that are in the store. The key in verify.sign_with signs the report, in the namespace
    groundcrew-evidence. ssh-keygen checks the signature.
    """
    from jobs.status.evidence import collect_evidence, document_text
    from jobs.status.evidence_page import evidence_page

    if html is None and not as_json:
        raise WrongUsage("name a file with --html FILE, or print the report with --json")
    environment, now = arguments.open_environment(ctx, environment_name), datetime.now(UTC)
    begin = parse_since(since, environment, now)
    if begin is None or begin >= now:
        raise WrongUsage(f"--since {since}: the period ends now, so it must begin earlier")
    signer = _signer(environment)
    document = collect_evidence(environment, arguments.environment_store(environment), begin, now, user_name())
    if html is None:
        text = document_text(document)
        output.print_json({"environment": environment.name, "document": text, "signature": _sign(signer, text)})
        return
    page = evidence_page(document, now)
    signature = html.with_name(f"{html.name}.sig")
    with output.writing_to(html):
        html.write_text(page)
        signature.write_text(_sign(signer, page)) if signer else signature.unlink(missing_ok=True)
    if as_json:
        output.print_json(
            {"environment": environment.name, "page": str(html), "signature": str(signature) if signer else ""}
        )
        return
    output.say(f"wrote {html}: {plural(len(document['databases']), 'database')}")
    if signer is None:
        output.say('It is not signed, because the environment file says sign_with = "nobody".', output.WARN)
    else:
        output.say(f"wrote {signature}. Check it with: {_check_command(html, signer)}")


def _signer(environment: Environment) -> SigningKey | None:
    """Return the key that signs evidence; None if the file disables signatures."""
    from jobs.backup import result_signer

    return result_signer(environment)


def _sign(signer: SigningKey | None, text: str) -> str:
    from jobs.status.evidence import EVIDENCE_NAMESPACE

    return signer.sign(text.encode(), EVIDENCE_NAMESPACE).decode() if signer else ""


def _check_command(file: Path, signer: SigningKey) -> str:
    from jobs.status.evidence import EVIDENCE_NAMESPACE

    trusted = f'<(echo "crew {signer.public.line}")'
    return f"ssh-keygen -Y verify -f {trusted} -I crew -n {EVIDENCE_NAMESPACE} -s {file}.sig < {file}"
