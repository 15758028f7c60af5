"""`crew demo`: the whole story on one machine."""

from __future__ import annotations

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, examples, new_app

app = new_app()


@app.command("demo", epilog=examples("crew demo"))
def demo(as_json: AsJson = False) -> None:
    """The whole story on this machine: back up, lose, restore, verify.

    Starts a PostgreSQL and an S3 server of its own, plays the story with the real commands, and leaves nothing.
    """
    from jobs.demo import play

    steps = play((lambda _line: None) if as_json else typer.echo)
    took = sum(seconds for _, seconds in steps)
    if as_json:
        arguments.print_json({"seconds": round(took, 1), "steps": [{"what": what, "seconds": s} for what, s in steps]})
        return
    output.say(f"That was all of it, in {took:.0f} s. Nothing is left running, and nothing lying about.", output.GOOD)
    output.say("Now with a database of yours: crew init")
