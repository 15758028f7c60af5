"""`crew backups`: which there are, and what can be done with them."""

from __future__ import annotations

from jobs.cli import prune, restores, sets
from jobs.cli.arguments import examples, new_app

app = new_app(several="Which backup sets there are, and what can be done with them.")

app.command("list", epilog=examples("crew backups list production", "crew backups list production shop --json"))(
    sets.list_sets
)
app.command("show", epilog=examples("crew backups show production shop"))(sets.show_set)
app.command(
    "restore", epilog=examples("crew backups restore production shop --into postgresql://me@host/shop --create")
)(restores.restore)
app.command("verify", epilog=examples("crew backups verify production shop"))(restores.verify)
app.command("fetch", epilog=examples("crew backups fetch production shop defs --to - | pg_restore --list"))(
    sets.fetch_part
)
app.command("pin", epilog=examples("crew backups pin production shop --set 3f9a"))(sets.pin)
app.command("unpin", epilog=examples("crew backups unpin production shop --set 3f9a"))(sets.unpin)
app.command("prune", epilog=examples("crew backups prune production --dry-run", "crew backups prune staging shop"))(
    prune.prune
)
