"""`crew metrics`: the metrics of an environment from its store, printed or served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated

import typer

from inventories import redact
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, WrongUsage, examples, new_app

app = new_app()

FRESH_SECONDS = 30.0


@app.command("metrics", epilog=examples("crew metrics production", "crew metrics production --listen 0.0.0.0:9180"))
def metrics_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Serve the metrics at /metrics until Ctrl-C.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Print or serve the metrics of an environment for Prometheus.

    They are computed from the store: the same as in metrics.textfile, for machines where no file is collected. A served
    answer is at most 30 seconds old.
    """
    from jobs.run.documents import utc_now
    from jobs.run.metrics import to_text
    from jobs.status.stored_metrics import stored_samples

    environment = arguments.open_environment(ctx, environment_name)
    store = arguments.environment_store(environment)

    def text() -> str:
        return to_text(stored_samples(environment, store, utc_now()))

    if as_json:
        if listen:
            raise WrongUsage("--listen serves text for Prometheus; omit --json")
        samples = stored_samples(environment, store, utc_now()).items()
        metrics = [{"name": name, "labels": dict(labels), "value": value} for (name, labels), value in samples]
        output.print_json({"environment": environment.name, "metrics": metrics})
        return
    if not listen:
        output.say_lines(text().rstrip("\n"))
        return
    with metrics_server(_address(listen), text) as server:
        output.say_to_stderr(f"serving http://{listen}/metrics; Ctrl-C to end")
        server.serve_forever()


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise WrongUsage(f'--listen {listen}: this is not an address; use HOST:PORT, such as "127.0.0.1:9180"')
    return host.strip("[]"), int(port)


def metrics_server(address: tuple[str, int], text: Callable[[], str]) -> ThreadingHTTPServer:
    """Return a server of /metrics. Scrapes of the same half minute get the same text, so that they cost no requests."""
    lock, kept, kept_at = threading.Lock(), "", -FRESH_SECONDS

    def fresh() -> str:
        nonlocal kept, kept_at
        with lock:
            if time.monotonic() - kept_at > FRESH_SECONDS:
                kept, kept_at = text(), time.monotonic()
            return kept

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self._answer(404, "the metrics are at /metrics\n")
                return
            try:
                self._answer(200, fresh())
            except Exception as error:  # Prometheus shows that the scrape failed, and tries again
                output.say_to_stderr(f"cannot compute the metrics: {redact(str(error))}", output.BAD)
                self._answer(500, "cannot compute the metrics; see the output of crew metrics\n")

        def _answer(self, status: int, body: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    return ThreadingHTTPServer(address, Handler)
