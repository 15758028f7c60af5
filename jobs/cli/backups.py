"""`crew backups`: what there is, and how it comes back."""

from __future__ import annotations

from jobs.cli import restores
from jobs.cli.frame import examples, new_app

app = new_app(several="What there is of backups, restoring and proving them.")

app.command(
    "restore", epilog=examples("crew backups restore production shop --into postgresql://me@host/shop --create")
)(restores.restore)
app.command("verify", epilog=examples("crew backups verify production shop"))(restores.verify)
