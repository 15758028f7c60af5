"""`crew demo`: back up, lose, restore and verify a database on this machine."""

from __future__ import annotations

from jobs.cli import output
from jobs.cli.arguments import AsJson, examples, new_app

app = new_app()


@app.command("demo", epilog=examples("crew demo", "crew demo --json"))
def demo_command(as_json: AsJson = False) -> None:
    """Back up, lose, restore and verify a database on this machine.

    Starts a PostgreSQL server and an S3 server in a temporary directory and runs the real commands against them. Takes
    about ten seconds. Stops both servers and removes the directory at the end. Uses none of your databases, buckets or
    credentials.
    """
    from jobs.demo import run_demo

    steps = run_demo((lambda _line: None) if as_json else output.say_lines)
    seconds = sum(took for _, took in steps)
    if as_json:
        output.print_json(
            {"seconds": round(seconds, 1), "steps": [{"what": title, "seconds": took} for title, took in steps]}
        )
        return
    output.say(f"Done in {seconds:.0f} s. Both servers are stopped and their files are removed.", output.GOOD)
    output.say("To back up a database of yours, start with: crew init")
