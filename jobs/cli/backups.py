"""`crew backups`: list, restore, verify, pin and prune backup sets."""

from __future__ import annotations

from jobs.cli import evidence, move, prune, restores, sets, undelete
from jobs.cli.arguments import examples, new_app

app = new_app(
    group_help="List, restore, verify, pin and prune backup sets.",
    group_examples=[
        "crew backups list production",
        "crew backups restore production shop --into postgresql://me@host/shop --create",
        "crew backups verify production",
    ],
)

app.command(
    "list", epilog=examples("crew backups list production", "crew backups list production --database shop --json")
)(sets.list_sets_command)
app.command(
    "show", epilog=examples("crew backups show production shop", "crew backups show production shop --set 3f9a")
)(sets.show_set_command)
app.command(
    "restore",
    epilog=examples(
        "crew backups restore production shop --into postgresql://me@host/shop --create",
        "crew backups restore production shop --into postgresql://me@host/shop --replace --before 02:00",
        "crew backups restore production shop --into postgresql://me@host/shop --tables orders",
    ),
)(restores.restore_command)
app.command(
    "verify", epilog=examples("crew backups verify production", "crew backups verify production shop --set 3f9a")
)(restores.verify_command)
app.command(
    "fetch",
    epilog=examples(
        "crew backups fetch production shop roles", "crew backups fetch production shop defs --to - | pg_restore --list"
    ),
)(sets.fetch_command)
app.command("pin", epilog=examples("crew backups pin production shop --set 3f9a"))(sets.pin_command)
app.command("unpin", epilog=examples("crew backups unpin production shop --set 3f9a"))(sets.unpin_command)
app.command("prune", epilog=examples("crew backups prune production --dry-run", "crew backups prune staging shop"))(
    prune.prune_command
)
app.command(
    "undelete",
    epilog=examples(
        "crew backups list production shop --store-as-of '2026-11-20 03:00'",
        "crew backups undelete production shop --set 3f9a --store-as-of '2026-11-20 03:00'",
    ),
)(undelete.undelete_command)
app.command(
    "evidence",
    epilog=examples(
        "crew backups evidence production --since 2026-10-01 --html evidence.html",
        "crew backups evidence production --since 90d --json",
    ),
)(evidence.evidence_command)
app.command(
    "copy",
    epilog=examples(
        "crew backups copy production --to s3://acme-new/groundcrew --dry-run",
        "crew backups copy production --to s3://acme-new/groundcrew --region eu-north-1 --profile new",
    ),
)(move.copy_command)
